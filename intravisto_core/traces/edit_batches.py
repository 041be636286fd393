"""Unedited runs of several texts, and many edited runs of each, whose final streams alone are kept."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from intravisto_core.errors import IntravistoError
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress, relay_turns
from intravisto_core.request import Generation, Intervention, TraceRequest
from intravisto_core.sites import Site
from intravisto_core.traces.edited_runs import capture_for, gather_sources
from intravisto_core.traces.trace_store import Traces
from intravisto_core.traces.whitened import make_operands
from intravisto_core.tracing import RunControl, TraceData, run
from intravisto_core.tracing.batch_run import Row, find_batch_obstacle, fits_one_call, run_batch
from intravisto_core.tracing.binding import Binder
from intravisto_core.tracing.edit_rows import can_share, group_starts, run_edit_rows
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.operands import Text
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.reuse import NEEDED, Reuse, find_obstacle

MOST_TOGETHER = 16

Result = TypeVar("Result")


def list_sites(interventions: Sequence[Intervention]) -> tuple[Site, ...]:
    """What an unedited run must keep, so that edits can be bound to it and made on it."""
    named = {kept for each in interventions if each.site is not None for kept in each.site.captured}
    frozen = {Site.Q} if any(each.site is Site.PATTERN for each in interventions) else set()
    return tuple(site for site in Site if site in {*NEEDED, *named, *frozen})


def run_texts(
    traces: Traces, texts: Sequence[tuple[int, ...]], sites: tuple[Site, ...], control: RunControl
) -> Generator[Progress, None, list[TraceData]]:
    """Unedited runs of texts by their ids, in padded batches where that is exact; nothing is remembered.

    Raises:
        TraceError: the model gave infinite values.
    """
    model = traces.model
    found: dict[int, TraceData] = {}
    rows = [Row(Prepared(ids, (), 0), i) for i, ids in enumerate(texts)]
    for batch in _split(model, sorted(rows, key=lambda row: len(row.prepared.prompt))):
        yield Progress(len(found), len(texts), "reading prompts")
        done: Sequence[TraceData | IntravistoError]
        if len(batch) > 1:
            done = yield from _silent(run_batch(model, batch, Generation(), sites, control))
        else:
            done = [(yield from _silent(run(model, batch[0].prepared, Generation(), sites, control)))]
        for row, data in zip(batch, done, strict=True):
            if isinstance(data, IntravistoError):
                raise data
            found[row.index] = data
    return [found[i] for i in range(len(texts))]


def _silent(turns: Generator[int, None, Result]) -> Generator[Progress, None, Result]:
    """Work that is one turn of what it belongs to."""
    return relay_turns(turns, lambda _: None)


def _split(model: LoadedModel, rows: Sequence[Row]) -> list[list[Row]]:
    """Batches of texts of like length, sorted before."""
    found: list[list[Row]] = []
    for row in rows:
        longest = len(row.prepared.prompt)
        n = len(found[-1]) + 1 if found else MOST_TOGETHER + 1
        if n <= MOST_TOGETHER and not find_batch_obstacle(model, longest) and fits_one_call(model, n, longest):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def bind_text(
    traces: Traces, interventions: Sequence[Intervention], base: TraceData, session: str, control: RunControl
) -> Generator[Progress, None, Edits]:
    """What interventions do in an unedited run of a text, all of which is its prompt.

    Raises:
        RequestError: one of them does not fit the model or the text.
    """
    request = TraceRequest(base.ids, interventions=tuple(interventions))
    sources = yield from gather_sources(traces, request, session, control)
    text = Text(base.length, base.length)
    operands = yield from make_operands(traces.model, traces.store, interventions, text, base, sources, reports=False)
    return Binder(operands).bind(interventions)


def run_edited_rows(
    model: LoadedModel, base: TraceData, rows: Sequence[Edits], position: int, control: RunControl
) -> Generator[Progress, None, Float[Tensor, "n d"]]:
    """The final stream after a position under each of many edits of one text, (n, d) in the model's dtype.

    Runs share their calls, from the first layer and position that they change; where that is not exact, or an edit
    cannot share a call, each runs alone.

    Raises:
        TraceError: the model gave infinite values.
    """
    stop, out = position + 1, base.final[position].expand(len(rows), -1).clone()
    together = not find_obstacle(model, base) and not find_batch_obstacle(model, base.length)
    shared = [i for i, edits in enumerate(rows) if together and can_share(edits)]
    starts = [(rows[i].first_layer, rows[i].first_position) for i in shared]
    for group in group_starts(starts, stop, model.dimensions.n_layers):
        chosen = [shared[i] for i in group]
        layer, first = min(starts[i][0] for i in group), min(starts[i][1] for i in group)
        out[chosen] = run_edit_rows(model, base, [rows[i] for i in chosen], layer, first, stop)
        yield Progress(0, 0, "running edits")
    for i in sorted(set(range(len(rows))) - set(shared)):
        out[i] = (yield from _run_alone(model, base, rows[i], stop, control))[position]
    return out


def _run_alone(
    model: LoadedModel, base: TraceData, edits: Edits, stop: int, control: RunControl
) -> Generator[Progress, None, Tensor]:
    layer, first, reuse = edits.first_layer, edits.first_position, None
    if first >= stop:
        return base.final
    if not find_obstacle(model, base) and (layer or first) and not edits.have_functions:
        reuse = Reuse(base, layer, first, stop)
    yield Progress(0, 0, "running edits")
    prepared, sites = Prepared(base.ids[:stop], (), 0), capture_for((), edits)
    turns = run(model, prepared, Generation(), sites, control, edits=edits, reuse=reuse)
    return (yield from _silent(turns)).final
