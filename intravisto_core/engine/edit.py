"""An edited run: interventions bound to the baseline, run in full or over later rows alone (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from intravisto_core.engine.base import Progress
from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.running import reporting
from intravisto_core.engine.views import need
from intravisto_core.errors import RequestError, TraceError
from intravisto_core.experiments.identities import relative_error, tolerance
from intravisto_core.request import Ablate, Intervention, Patch, PromptSet, TraceRequest, to_json
from intravisto_core.sites import Capability, Site, TextMode
from intravisto_core.tracing import RunControl, TraceData, prepare, run
from intravisto_core.tracing.binding import Binder, Text
from intravisto_core.tracing.edited import EditedData, trimmed
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.no_op import changes_nothing
from intravisto_core.tracing.reuse import Reuse, obstacle
from intravisto_core.tracing.run import Prepared

if TYPE_CHECKING:
    from intravisto_core.engine.local import LocalEngine

NEEDS = {Site.Z: Capability.HEADS, Site.ACT: Capability.NEURONS, Site.PATTERN: Capability.PATTERN}
Steps = Generator[Progress, None, Any]


def baseline_of(engine: LocalEngine, request: TraceRequest, session: str) -> TraceEntry:
    """The unedited trace that a request is held against.

    Raises:
        TraceError: there is none of that id.
        RequestError: it is edited itself, or of another prompt.
    """
    entry = engine._entry(request.baseline, session)
    if entry.request.interventions:
        raise RequestError("baseline: expected an unedited trace; got an edited one. Take its baseline")
    own = (request.prompt, request.chat, request.messages, request.add_special_tokens)
    if own != (entry.request.prompt, entry.request.chat, entry.request.messages, entry.request.add_special_tokens):
        raise RequestError("baseline: expected a trace of the same prompt; got one of another")
    return entry


def edit(engine: LocalEngine, request: TraceRequest, session: str, control: RunControl) -> Steps:
    """Run an edit; makes its baseline first where it has none. Gives the entry's id.

    Raises:
        RequestError: an intervention does not fit the model or the text.
        ModelError: it needs an identity that this model fails.
    """
    for each in request.interventions:
        if each.site in NEEDS:
            need(engine._card, NEEDS[each.site])
    if not request.baseline:
        plain = replace(request, interventions=(), text=TextMode.FREE)
        trace = yield from engine._trace(plain, session, control)
        request = replace(request, baseline=trace.id)
    base = baseline_of(engine, request, session)
    data, reused = yield from compute(engine, request, base, session, control)
    entry = engine._remember(request, session, data, _named(engine, request, base, session))
    entry.baseline, entry.reused = base.id, reused
    entry.holds = (base.id, *_trace_sources(request.interventions))
    for source in entry.holds:
        engine.pin(source)
    return entry


def compute(
    engine: LocalEngine,
    request: TraceRequest,
    base: TraceEntry,
    session: str,
    control: RunControl,
    again: TraceEntry | None = None,
) -> Generator[Progress, None, tuple[EditedData, Reuse | None]]:
    """The activations of an edit, and what of the baseline was reused. again: an evicted run to be made once more."""
    model = engine._model
    data: TraceData = yield from engine._data(base)
    prepared = _prepared(engine, request, base, again)
    limit = base.prompt_length + prepared.n_new
    sources = yield from _sources(engine, request, session, control)
    binder = Binder(model, Text(base.prompt_length, limit), data, sources)
    edits = binder.bind(request.interventions)
    reuse, note = _plan(engine, edits, data, prepared, request.text)
    sites = request.sites
    if sites is not None and edits.frozen:
        sites = (*sites, Site.Q, Site.K, Site.V)
    if sites is not None and edits.experts:
        sites = (*sites, Site.ACT)
    yield Progress(0, limit, "running the edit")
    turns = run(model, prepared, request.generation, sites, control, edits=edits, reuse=reuse)
    found = yield from reporting(turns, limit, "running the edit")
    assert isinstance(found, EditedData)
    _check_middle(engine, edits, found)
    if reuse is None and not note and (edits.sites or edits.knocked or edits.experts):
        trimmed(data, found, edits.first_layer, min(edits.first_position, found.length - 1))
    found.notes = (*found.notes, *edits.notes, *([note] if note else []))
    return found, reuse


def _prepared(engine: LocalEngine, request: TraceRequest, base: TraceEntry, again: TraceEntry | None) -> Prepared:
    """Held: the baseline's ids by its own schedule of calls. Free: the same prompt, to be gone on from."""
    fed = base if request.text is TextMode.HELD else again
    if fed is None:
        return prepare(engine._model, replace(request, prompt=base.ids[: base.prompt_length], chat=False, messages=()))
    start = fed.prompt_length
    forced = fed.ids[start : start + fed.forced_length]
    return Prepared(fed.ids[:start], forced, fed.length - start, replay=fed.ids[start:])


def _plan(
    engine: LocalEngine, edits: Edits, base: TraceData, prepared: Prepared, mode: TextMode
) -> tuple[Reuse | None, str]:
    """What of the baseline is reused, or None for a full run, with the reason where reuse is off."""
    if reason := obstacle(engine._model, base):
        return None, f"run in full: {reason}"
    if changes_nothing(edits, base):
        return None, ""
    layer, position = edits.first_layer, edits.first_position
    if position >= base.length or not (layer or position):
        return None, ""
    known = base.length
    if mode is TextMode.FREE:
        known = min(known, max(len(prepared.prompt) + len(prepared.forced), position + 1))
    return Reuse(base, layer, position, known), ""


def _check_middle(engine: LocalEngine, edits: Edits, data: EditedData) -> None:
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
        if not float(relative_error(mid + mlp, post).max()) <= tolerance(
            engine._model.dtype, engine._model.quantisation
        ):
            raise TraceError("resid_mid: expected the change to reach the stream; this model keeps a copy of it there")


def _trace_sources(interventions: Sequence[Intervention]) -> Iterator[str]:
    for each in interventions:
        if isinstance(each, Patch | Ablate) and isinstance(each.source, str):
            yield each.source


def _sources(
    engine: LocalEngine, request: TraceRequest, session: str, control: RunControl
) -> Generator[Progress, None, dict[str | PromptSet, Sequence[TraceData]]]:
    """Traces and prompt sets that values are taken from; traces must be unedited."""
    out: dict[str | PromptSet, Sequence[TraceData]] = {}
    for name in _trace_sources(request.interventions):
        entry = engine._entry(name, session)
        if entry.request.interventions:
            raise RequestError("source: expected an unedited trace; got an edited one. Take its baseline")
        out[name] = [(yield from engine._data(entry))]
    for each in request.interventions:
        source = getattr(each, "source", None)
        if isinstance(source, PromptSet) and source not in out:
            sites = tuple({i.site for i in request.interventions if getattr(i, "source", None) == source})
            out[source] = yield from prompt_set(engine, source.prompts, sites, control)
    return out


def prompt_set(
    engine: LocalEngine, prompts: Sequence[str], sites: tuple[Site, ...], control: RunControl
) -> Generator[Progress, None, list[TraceData]]:
    """Runs of several prompts, kept in the store by their texts and sites."""
    found: list[TraceData] = []
    wanted = tuple(s for s in Site if s in sites)
    for number, prompt in enumerate(prompts):
        key = ("prompt", prompt, wanted)
        data: TraceData | None = engine.store.get(key)
        if data is None:
            request = TraceRequest(prompt, sites=wanted)
            turns = run(engine._model, prepare(engine._model, request), request.generation, wanted, control)
            data = yield from reporting(turns, len(prompts), f"prompt {number + 1} of {len(prompts)}")
            engine.store.put(key, data, data.nbytes)
        found.append(data)
    return found


def _named(engine: LocalEngine, request: TraceRequest, base: TraceEntry, session: str) -> str:
    """The request with traces named by what they are, not by their random handles: equal edits have equal names."""

    def content(each: Intervention) -> Intervention:
        if isinstance(each, Patch | Ablate) and isinstance(each.source, str):
            return replace(each, source=engine._entry(each.source, session).fingerprint)
        return each

    named = tuple(content(each) for each in request.interventions)
    return to_json(replace(request, baseline=base.fingerprint, interventions=named))


def again(engine: LocalEngine, entry: TraceEntry, session: str) -> Generator[Progress, None, TraceData]:
    """The activations of an evicted edit, by the same schedule of calls.

    Raises:
        TraceError: its baseline or a source is gone.
    """
    base = engine._entry(entry.baseline, session)
    data, _ = yield from compute(engine, entry.request, base, session, RunControl(), again=entry)
    if data.ids != entry.ids:
        raise TraceError("edit: expected the same text when it was run again; got another. Run the edit once more")
    return data


@torch.no_grad()
def no_op(engine: LocalEngine, entry: TraceEntry, base: TraceEntry, session: str) -> Steps:
    """What the baseline becomes when nothing is changed, on the path that an edit took: None where that is exact."""
    reuse: Reuse | None = entry.reused
    if reuse is None:
        return None
    data: TraceData = yield from engine._data(base)
    start = base.prompt_length
    forced = base.ids[start : start + base.forced_length]
    prepared = Prepared(base.ids[:start], forced, base.length - start, replay=base.ids[start:])
    turns = run(engine._model, prepared, base.request.generation, base.request.sites, reuse=replace(reuse, base=data))
    return (yield from reporting(turns, base.length, "measuring the noise floor"))
