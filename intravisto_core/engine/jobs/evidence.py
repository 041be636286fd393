"""A claim held against controls, prompt by prompt (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from intravisto_core.analysis.evidence import judge
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.engine.jobs.evidence_prompt import PromptTest, Tested
from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress, always, relay_turns
from intravisto_core.records import Evidence
from intravisto_core.request import Claim, EvidenceView, Generation, Span, to_json
from intravisto_core.request.prompts import pick_token
from intravisto_core.request.ranges import index, resolve_layers_and_heads
from intravisto_core.sites import ControlKind, Effect
from intravisto_core.traces.edit_batches import list_sites, run_texts
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData, prepare_in_turns
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast

TEXT = "testing prompts"
# how often, at most, it is judged what the prompts that were tested by now come to
MOST_PARTS = 24


def run_evidence(
    traces: Traces, view: EvidenceView, session: str, control: RunControl
) -> Generator[Progress, None, Evidence]:
    """The record of a test.

    Raises:
        RequestError: the trace is edited, a place or token does not fit a prompt, or no kind of control applies.
        ModelError: the edit needs an identity that this model fails.
    """
    model, entry = traces.model, traces.entry(view.trace, session)
    if entry.request.interventions:
        raise RequestError("test: expected an unedited trace; got an edited one. Test the claim on its baseline")
    size = model.dimensions
    edit = tuple(resolve_layers_and_heads(each, size.n_layers, size.n_heads) for each in view.claim.edit)
    for each in edit:
        if each.site.edit_capability is not None:
            traces.card.require(each.site.edit_capability)
    own = entry.ids[: entry.prompt_length]
    texts = yield from _read_prompts(traces, entry, view, own)
    all_texts = texts if own in texts else [*texts, own]
    _check_places(view.claim, all_texts)
    kinds = tuple(ControlKind) if isinstance(view.controls, str) else view.controls
    data = yield from run_texts(traces, all_texts, list_sites(edit), control)
    claim, own_place = replace(view.claim, edit=edit), all_texts.index(own)
    found: dict[int, Tested] = {}
    notes: list[str] = []
    part, every = None, -(-len(data) // MOST_PARTS)
    # the way of the claim comes from the discovery prompt, so what is there by now has one once that was run
    for number in sorted(range(len(data)), key=lambda i: i != own_place):
        listed = number < len(texts)
        tested = _ask(traces, view.claim, data[number], number if listed else None, notes)
        test = PromptTest(traces, edit, data[number], tested, view, number, session, control)
        told = Progress(len(found), len(data), TEXT, part)
        yield told
        yield from relay_turns(test.run(kinds if listed else ()), always(told))
        found[number] = tested
        n_tested = sum(i < len(texts) for i in found)
        if n_tested and n_tested % every == 0 and len(found) < len(data):
            part = _record(traces, view, claim, entry, found, own_place, len(texts), kinds, notes)
    return _record(traces, view, claim, entry, found, own_place, len(texts), kinds, notes)


def _read_prompts(
    traces: Traces, entry: TraceEntry, view: EvidenceView, own: tuple[int, ...]
) -> Generator[Progress, None, list[tuple[int, ...]]]:
    """The ids of the prompts, written as the trace's own prompt was."""
    if view.prompts is None:
        return [own]
    plain = replace(entry.request, generation=Generation(), modules=())
    found: list[tuple[int, ...]] = []
    for text in view.prompts:
        prepared = yield from prepare_in_turns(traces.model, replace(plain, prompt=text))
        found.append(prepared.prompt)
    if len(set(found)) < len(found):
        raise RequestError(expected("prompts", "every prompt once", "two that have the same tokens"))
    return found


def _check_places(claim: Claim, texts: Sequence[tuple[int, ...]]) -> None:
    """Refuse a place that is counted from the start where prompts have different lengths.

    Raises:
        RequestError: there is such a place.
    """
    lengths = sorted({len(ids) for ids in texts})
    if len(lengths) == 1:
        return
    named: list[int] = [] if claim.position is None else [claim.position]
    for place in claim.places():
        if isinstance(place, Span):
            named += [place.start, place.stop]
        elif isinstance(place, tuple):
            named += place
    if any(p >= 0 for p in named):
        raise RequestError(
            f"edit: expected positions that mean the same place in every prompt; position {max(named)} is counted from "
            f"the start, and the prompts have {lengths[0]} to {lengths[-1]} tokens. Count from the end (-1 is the "
            "last), or give prompts of one length"
        )


def _ask(traces: Traces, claim: Claim, base: TraceData, number: int | None, notes: list[str]) -> Tested:
    """What is asked of one prompt. number: its place among those that are tested, or None."""
    position = index(-1 if claim.position is None else claim.position, base.length, "position")
    logits = compute_output_logits(traces.model, base.final[position : position + 1])[0]

    def of_prompt(tokens: str | int | tuple[str | int | None, ...] | None) -> str | int | None:
        return None if number is None and isinstance(tokens, tuple) else pick_token(tokens, number or 0)

    asked = of_prompt(claim.target), of_prompt(claim.contrast)
    target, contrast, said = target_and_contrast(traces.model, logits, *asked, DefaultContrast.RUNNER_UP)
    notes += [note for note in said if note not in notes]
    metric = float(logits[target].double() - logits[contrast].double())
    return Tested(base.ids, position, target, contrast, metric)


def _record(
    traces: Traces,
    view: EvidenceView,
    claim: Claim,
    entry: TraceEntry,
    found: Mapping[int, Tested],
    own: int,
    n_listed: int,
    kinds: Sequence[ControlKind],
    said: Sequence[str],
) -> Evidence:
    """What the prompts that were tested by now came to, in their order. found: by place; those before `n_listed` count.

    own: the place of the discovery prompt.
    """
    listed, notes = [found[i] for i in sorted(found) if i < n_listed], list(said)
    left_out = {kind: next((t.refused[kind] for t in listed if kind in t.refused), "") for kind in kinds}
    used = tuple(kind for kind in kinds if not left_out[kind])
    if not used:
        words = "; ".join(f"{kind.label}: {why}" for kind, why in left_out.items())
        raise RequestError(f"controls: expected one that applies to this edit; none does ({words})")
    shape = (len(listed), len(used), max(len(t.draws[kind]) for t in listed for kind in used))
    draws, drawn = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    for p, tested in enumerate(listed):
        for k, kind in enumerate(used):
            for r, (words, change) in enumerate(tested.draws[kind]):
                draws[p, k, r], drawn[p, k, r] = change, words
    effects = np.array([t.effect for t in listed])
    discovery = found[own]
    effect = claim.effect or (Effect.LOWERS if discovery.effect < 0 else Effect.RAISES)
    noise = np.array([t.noise for t in listed])
    judged = judge(effect.sign * effects, draws, float(noise.max()), view.seed)
    if abs(discovery.effect) <= discovery.noise:
        notes.append("in the prompt that the claim was found in the edit does nothing above the noise floor")
    reader = traces.model.reader
    return Evidence(
        trace=entry.id,
        model=traces.model.name,
        claim=to_json(claim),
        edit=claim.describe(),
        effect=effect,
        effect_was_given=claim.effect is not None,
        own_effect=discovery.effect,
        verdict=judged.verdict,
        missing=judged.missing,
        prompts=tuple(reader.decode(t.ids) for t in listed),
        is_discovery=np.array([t is discovery for t in listed]),
        target_ids=np.array([t.target for t in listed]),
        contrast_ids=np.array([t.contrast for t in listed]),
        targets=tuple(reader.shown(t.target) for t in listed),
        contrasts=tuple(reader.shown(t.contrast) for t in listed),
        metrics=np.array([t.metric for t in listed]),
        effects=effects,
        noise=noise,
        kinds=used,
        draws=draws,
        drawn=drawn.astype(str),
        left_out=tuple((kind, why) for kind, why in left_out.items() if why),
        control=used[judged.control],
        differences=judged.differences,
        interval=judged.interval,
        rank=judged.rank,
        n_draws=view.draws,
        seed=view.seed,
        position=-1 if claim.position is None else claim.position,
        notes=(*entry.notes, *notes),
    )
