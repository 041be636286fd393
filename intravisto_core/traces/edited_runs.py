"""An edited run: interventions bound to the baseline, run in full or over later rows alone (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
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
from intravisto_core.tracing import RunControl, TraceData, prepare, run
from intravisto_core.tracing.binding import Binder
from intravisto_core.tracing.edited import EditedData, trim_to_changes
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.no_op import is_no_op
from intravisto_core.tracing.operands import Operands, Text
from intravisto_core.tracing.reuse import Reuse, find_obstacle
from intravisto_core.tracing.run import Prepared


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
        if each.site.edit_capability is not None:
            traces.card.require(each.site.edit_capability)
    base = find_baseline(traces, request, session)
    data, reused = yield from _compute(traces, request, base, session, control)
    entry = traces.remember(request, session, data, _named(traces, request, base, session))
    entry.baseline, entry.reused = base.id, reused
    traces.hold(entry, (base.id, *_trace_sources(request.interventions)))
    return entry


def run_edit_again(traces: Traces, entry: TraceEntry) -> Generator[Progress, None, TraceData]:
    """The activations of an evicted edit, by the same schedule of calls.

    Raises:
        TraceError: its baseline or a source is gone.
    """
    base = traces.entry(entry.baseline, entry.session)
    data, _ = yield from _compute(traces, entry.request, base, entry.session, RunControl(), again=entry)
    if data.ids != entry.ids:
        raise TraceError("edit: expected the same text when it was run again; got another. Run the edit once more")
    return data


@torch.no_grad()
def run_no_op(traces: Traces, base: TraceEntry, reuse: Reuse) -> Generator[Progress, None, TraceData]:
    """What the baseline becomes when nothing is changed, on the path that an edit took. reuse: what the edit reused."""
    data = yield from read_plain_data(traces, base)
    again, request = prepare_replay(base), base.request
    turns = run(traces.model, again, request.generation, request.sites, reuse=replace(reuse, base=data))
    return (yield from relay_positions(turns, base.length, "measuring the noise floor"))


def _compute(
    traces: Traces,
    request: TraceRequest,
    base: TraceEntry,
    session: str,
    control: RunControl,
    again: TraceEntry | None = None,
) -> Generator[Progress, None, tuple[EditedData, Reuse | None]]:
    """The activations of an edit, and what of the baseline was reused. again: an evicted run to be made once more."""
    model = traces.model
    data = yield from read_plain_data(traces, base)
    prepared = _prepared(model, request, base, again)
    limit = base.prompt_length + prepared.n_new
    sources = yield from _sources(traces, request, session, control)
    edits = Binder(Operands(model, Text(base.prompt_length, limit), data, sources)).bind(request.interventions)
    reuse, note = _plan(model, edits, data, prepared, request.text)
    yield Progress(0, limit, "running the edit")
    turns = run(model, prepared, request.generation, _captured(request.sites, edits), control, edits=edits, reuse=reuse)
    found = yield from relay_positions(turns, limit, "running the edit")
    assert isinstance(found, EditedData)
    _check_middle(model, edits, found)
    if reuse is None and not note and (edits.sites or edits.knocked or edits.experts):
        trim_to_changes(data, found, edits.first_layer, min(edits.first_position, found.length - 1))
    found.notes = (*found.notes, *edits.notes, *([note] if note else []))
    return found, reuse


def _captured(sites: tuple[Site, ...] | None, edits: Edits) -> tuple[Site, ...] | None:
    """The sites that were asked for, and those that the edits are computed from; None is all."""
    if sites is not None and edits.frozen:
        sites = (*sites, Site.Q, Site.K, Site.V)
    if sites is not None and edits.experts:
        sites = (*sites, Site.ACT)
    return sites


def _prepared(model: LoadedModel, request: TraceRequest, base: TraceEntry, again: TraceEntry | None) -> Prepared:
    """Held: the baseline's ids by its own schedule of calls. Free: the same prompt, to be gone on from."""
    fed = base if request.text is TextMode.HELD else again
    if fed is None:
        return prepare(model, replace(request, prompt=base.ids[: base.prompt_length], chat=False, messages=()))
    return prepare_replay(fed)


def _plan(
    model: LoadedModel, edits: Edits, base: TraceData, prepared: Prepared, mode: TextMode
) -> tuple[Reuse | None, str]:
    """What of the baseline is reused, or None for a full run, with the reason where reuse is off."""
    if reason := find_obstacle(model, base):
        return None, f"run in full: {reason}"
    if is_no_op(edits, base):
        return None, ""
    layer, position = edits.first_layer, edits.first_position
    if position >= base.length or not (layer or position):
        return None, ""
    known = base.length
    if mode is TextMode.FREE:
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


def _sources(
    traces: Traces, request: TraceRequest, session: str, control: RunControl
) -> Generator[Progress, None, dict[str | PromptSet, Sequence[TraceData]]]:
    """Traces and prompt sets that values are taken from; traces must be unedited."""
    out: dict[str | PromptSet, Sequence[TraceData]] = {}
    for name in _trace_sources(request.interventions):
        out[name] = [(yield from read_plain_data(traces, traces.unedited(name, session, "source")))]
    for each in request.interventions:
        source = each.prompt_source
        if source is not None and source not in out:
            sites = tuple({i.site for i in request.interventions if i.prompt_source == source})
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
