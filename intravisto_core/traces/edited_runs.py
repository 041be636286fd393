"""An edited run: interventions bound to the baseline, run in full or over later rows alone (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from intravisto_core.errors import RequestError, TraceError
from intravisto_core.experiments.identities import allowed_error, compute_relative_error
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress, relay_positions
from intravisto_core.request import Intervention, PromptSet, TraceRequest, to_json
from intravisto_core.sites import Site, TextMode
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.plain_runs import prepare_replay, read_plain_data, run_prompts
from intravisto_core.traces.trace_store import Traces
from intravisto_core.traces.whitened import make_operands
from intravisto_core.tracing import RunControl, TraceData, prepare_in_turns, run
from intravisto_core.tracing.binding import Binder
from intravisto_core.tracing.edited import EditedData, trim_to_changes
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.no_op import is_no_op
from intravisto_core.tracing.operands import Text
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.reuse import Reuse, Reused, find_obstacle

FUNCTIONS_IN_FULL = "run in full: a function may look at all that was computed before"


def find_baseline(traces: Traces, request: TraceRequest, session: str) -> TraceEntry:
    """The unedited trace that a request is held against.

    Raises:
        TraceError: there is none of that id.
        RequestError: it is edited itself, or of another prompt.
    """
    entry = traces.unedited(request.baseline, session, "baseline")
    own = (request.prompt, request.chat, request.messages, request.add_special_tokens)
    if own != (entry.request.prompt, entry.request.chat, entry.request.messages, entry.request.add_special_tokens):
        raise RequestError("baseline: expected a trace of the same prompt; got one of another")
    return entry


def run_edit(
    traces: Traces, request: TraceRequest, session: str, control: RunControl
) -> Generator[Progress, None, TraceEntry]:
    """Run an edit, of a request that has its baseline, and remember it.

    Raises:
        RequestError: an intervention does not fit the model or the text.
        ModelError: it needs an identity that this model fails.
    """
    for each in request.interventions:
        if each.site is not None and each.site.edit_capability is not None:
            traces.card.require(each.site.edit_capability)
    base = find_baseline(traces, request, session)
    if base.only_once and not control.callbacks:
        raise RequestError(
            f"baseline: expected a run that can be made again; {base.only_once}. Run the prompt without it"
        )
    data, reused = yield from compute_edit(traces, request, base, session, control)
    return remember_edit(traces, request, base, session, data, control.new_id(), reused)


def remember_edit(
    traces: Traces,
    request: TraceRequest,
    base: TraceEntry,
    session: str,
    data: EditedData,
    id: str,
    reused: Reuse | None = None,
) -> TraceEntry:
    """Keep an edited run, and its baseline and sources as long as it. id: its handle."""
    named = "" if data.only_once else _named(traces, request, base, session)
    entry = traces.remember(request, session, data, id, named)
    entry.baseline = base.id
    entry.reused = None if reused is None else Reused(reused.layer, reused.position, reused.known)
    traces.hold(entry, (base.id, *_trace_sources(request.interventions)))
    return entry


def run_edit_again(traces: Traces, entry: TraceEntry) -> Generator[Progress, None, TraceData]:
    """The activations of an evicted edit, by the same schedule of calls.

    Raises:
        TraceError: its baseline or a source is gone, or a function changed it.
    """
    base = traces.entry(entry.baseline, entry.session)
    traces.require_repeatable(entry)
    data, _ = yield from compute_edit(traces, entry.request, base, entry.session, RunControl(), again=entry)
    if data.ids != entry.ids:
        raise TraceError("edit: expected the same text when it was run again; got another. Run the edit once more")
    return data


@torch.no_grad()
def run_no_op(
    traces: Traces, base: TraceEntry, reused: Reused, stop: int | None = None
) -> Generator[Progress, None, TraceData]:
    """What the baseline becomes when nothing is changed, on the path that an edit took.

    reused: what the edit reused. stop: see `compute_edit`.
    """
    data = yield from read_plain_data(traces, base)
    again, request = prepare_replay(base), base.request
    if stop is not None:
        again, reused = again.before(stop), replace(reused, known=min(reused.known, stop))
    turns = run(traces.model, again, request.generation, request.sites, reuse=reused.of(data))
    return (yield from relay_positions(turns, base.length, "measuring the noise floor"))


def compute_edit(
    traces: Traces,
    request: TraceRequest,
    base: TraceEntry,
    session: str,
    control: RunControl,
    again: TraceEntry | None = None,
    stop: int | None = None,
) -> Generator[Progress, None, tuple[EditedData, Reuse | None]]:
    """The activations of an edit, and what of the baseline was reused; nothing is remembered.

    again: a run whose text is fed once more. stop: no position from there on is run; None runs all.

    Raises:
        RequestError: an intervention does not fit the model or the text.
    """
    model = traces.model
    bound = yield from bind_edit(traces, request, base, session, control, again)
    data, prepared, edits = bound.baseline, bound.prepared, bound.edits
    limit = base.prompt_length + prepared.n_new
    reuse, note = _plan(model, edits, data, prepared, request)
    if control.callbacks:
        reuse, note = None, "run in full: hooks may look at every layer"
    if stop is not None:
        prepared, limit = prepared.before(stop), stop
        reuse = None if reuse is None else replace(reuse, known=min(reuse.known, stop))
    yield Progress(0, limit, "running the edit")
    turns = run(
        model,
        prepared,
        request.generation,
        capture_for(request.sites, edits),
        control,
        edits=edits,
        reuse=reuse,
        modules=request.modules,
        callbacks=control.callbacks,
    )
    found = yield from relay_positions(turns, limit, "running the edit")
    assert isinstance(found, EditedData)
    _check_middle(model, edits, found)
    if reuse is None and not note and (edits.sites or edits.knocked or edits.experts):
        trim_to_changes(data, found, edits.first_layer, min(edits.first_position, found.length - 1))
    found.notes = (*found.notes, *edits.notes, *([note] if note else []))
    return found, reuse


@dataclass(frozen=True, slots=True)
class Bound:
    """An edit ready to run: what it is held against, its text, and what it does."""

    baseline: TraceData
    prepared: Prepared
    edits: Edits


def bind_edit(
    traces: Traces,
    request: TraceRequest,
    base: TraceEntry,
    session: str,
    control: RunControl,
    again: TraceEntry | None = None,
) -> Generator[Progress, None, Bound]:
    """Everything that an edit needs before it runs; donors are run where they have to be.

    Raises:
        RequestError: an intervention does not fit the model or the text.
    """
    model = traces.model
    data = yield from read_plain_data(traces, base)
    prepared = yield from _prepared(model, request, base, again)
    sources = yield from gather_sources(traces, request, session, control)
    text = Text(base.prompt_length, base.prompt_length + prepared.n_new)
    operands = yield from make_operands(model, traces.store, request.interventions, text, data, sources)
    return Bound(data, prepared, Binder(operands).bind(request.interventions))


def capture_for(sites: tuple[Site, ...] | None, edits: Edits) -> tuple[Site, ...] | None:
    """The sites that were asked for, and those that the edits are computed from; None is all."""
    if sites is not None and edits.frozen:
        sites = (*sites, Site.Q, Site.K, Site.V)
    if sites is not None and edits.experts:
        sites = (*sites, Site.ACT)
    return sites


def _prepared(
    model: LoadedModel, request: TraceRequest, base: TraceEntry, again: TraceEntry | None
) -> Generator[Progress, None, Prepared]:
    """Held: the baseline's ids by its own schedule of calls. Free: the same prompt, to be gone on from."""
    fed = base if request.text is TextMode.HELD else again
    if fed is None:
        plain = replace(request, prompt=base.ids[: base.prompt_length], chat=False, messages=())
        return (yield from prepare_in_turns(model, plain))
    return prepare_replay(fed)


def _plan(
    model: LoadedModel, edits: Edits, base: TraceData, prepared: Prepared, request: TraceRequest
) -> tuple[Reuse | None, str]:
    """What of the baseline is reused, or None for a full run, with the reason where reuse is off."""
    if request.modules:
        return None, "run in full: what modules give is kept, and is whole only there"
    if edits.have_functions:
        return None, FUNCTIONS_IN_FULL
    if reason := find_obstacle(model, base):
        return None, f"run in full: {reason}"
    if is_no_op(edits, base):
        return None, ""
    layer, position = edits.first_layer, edits.first_position
    if position >= base.length or not (layer or position):
        return None, ""
    known = base.length
    if request.text is TextMode.FREE:
        known = min(known, max(len(prepared.prompt) + len(prepared.forced), position + 1))
    return Reuse(base, layer, position, known), ""


def _check_middle(model: LoadedModel, edits: Edits, data: EditedData) -> None:
    """The middle of a block is changed in place; a model that keeps a copy of it would not have taken the change.

    Raises:
        TraceError: it did not.
    """
    for layer in {e.layer for e in edits.sites if e.site is Site.RESID_MID}:
        after = edits.at(Site.RESID_POST, layer) or edits.at(Site.RESID_PRE, layer + 1)
        sites = (Site.RESID_MID, Site.MLP_OUT, Site.RESID_POST)
        if after or any(s not in data.buffers for s in (Site.RESID_MID, Site.MLP_OUT, Site.RESID_PRE)):
            continue
        mid, mlp, post = (data.site(s, layer).float() for s in sites)
        if not float(compute_relative_error(mid + mlp, post).max()) <= allowed_error(model.dtype, model.quantisation):
            raise TraceError("resid_mid: expected the change to reach the stream; this model keeps a copy of it there")


def _trace_sources(interventions: Sequence[Intervention]) -> Iterator[str]:
    for each in interventions:
        if each.trace_source is not None:
            yield each.trace_source


def gather_sources(
    traces: Traces, request: TraceRequest, session: str, control: RunControl
) -> Generator[Progress, None, dict[str | PromptSet, Sequence[TraceData]]]:
    """Traces and prompt sets that values are taken from; traces must be unedited."""
    out: dict[str | PromptSet, Sequence[TraceData]] = {}
    for name in _trace_sources(request.interventions):
        out[name] = [(yield from read_plain_data(traces, traces.unedited(name, session, "source")))]
    for each in request.interventions:
        source = each.prompt_source
        if source is not None and source not in out:
            sites = tuple({i.site for i in request.interventions if i.prompt_source == source and i.site is not None})
            out[source] = yield from run_prompts(traces, source.prompts, sites, control)
    return out


def _named(traces: Traces, request: TraceRequest, base: TraceEntry, session: str) -> str:
    """The request with traces named by what they are, not by their random handles: equal edits have equal names."""

    def content(each: Intervention) -> Intervention:
        if each.trace_source is None:
            return each
        changed: Any = {"source": traces.entry(each.trace_source, session).fingerprint}
        return replace(each, **changed)

    named = tuple(content(each) for each in request.interventions)
    return to_json(replace(request, baseline=base.fingerprint, interventions=named))
