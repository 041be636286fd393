"""Gradients of a prediction, and what they and other tokens say of each token of the text (docs/methods.md §11)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from intravisto_core.analysis.effects import compute_two_steps
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.errors import RequestError, expected
from intravisto_core.experiments.gradients import compute_site_gradient
from intravisto_core.experiments.identities import allowed_error
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.experiments.passage import Passage
from intravisto_core.experiments.saliency import integrate_gradients, multiply_gradient, occlude
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.records import Gradient, Saliency
from intravisto_core.request import GradientView, SaliencyView
from intravisto_core.request.ranges import index
from intravisto_core.sites import SaliencyMethod, TokenKind
from intravisto_core.traces.edited_runs import bind_edit
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_data import read_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.run import CHANGED_BY_FUNCTION
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast

TEXT = "taking gradients"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One trace, and the metric whose slope is asked for. passage: what is run for it. logits: (V,) after the metric's
    position."""

    entry: TraceEntry
    data: TraceData
    passage: Passage
    metric: Metric
    logits: Tensor
    notes: tuple[str, ...]

    def read_notes(self) -> tuple[str, ...]:
        """What the reader must know, after the passes."""
        edits = self.passage.edits
        return self.notes if edits is None else (*self.notes, *edits.constants)

    def check_metric(self, metric: float) -> None:
        """Refuse functions that give something else each time that they are called.

        Raises:
            RequestError: the metric of the pass is not that of the trace.
        """
        edits, had = self.passage.edits, float(self.metric(self.logits))
        allowed = allowed_error(self.passage.model.dtype, None) * float(self.logits.abs().max())
        if edits is not None and edits.have_functions and not abs(metric - had) <= allowed:
            raise RequestError(
                "gradients: expected functions (Apply) that give the same each time that they are called; with them "
                f"the logit is {metric:.6g} now, and {had:.6g} in the trace. Draw random numbers once, before the run"
            )


def _read(
    traces: Traces, view: GradientView | SaliencyView, session: str, control: RunControl
) -> Generator[Progress, None, _Asked]:
    model, entry = traces.model, traces.entry(view.trace, session)
    what = "gradient" if isinstance(view, GradientView) else "saliency"
    if entry.only_once and entry.only_once != CHANGED_BY_FUNCTION:
        raise RequestError(
            f"{what}: expected a run that can be made again; {entry.only_once}. Change it with iv.Apply instead"
        )
    position = entry.prompt_length - 1 if view.position is None else index(view.position, entry.length, "position")
    data = yield from read_data(traces, entry)
    edits = (yield from _bind(traces, entry, what, control)) if entry.request.interventions else None
    logits = compute_output_logits(model, data.final[position : position + 1])[0]
    target, contrast, notes = target_and_contrast(model, logits, view.target, view.contrast, DefaultContrast.NONE)
    metric = Metric(target, None if contrast < 0 else contrast, position)
    passage = Passage.of(model, data.ids, position, edits, entry.prompt_length)
    return _Asked(entry, data, passage, metric, logits, (*entry.notes, *notes))


def _bind(traces: Traces, entry: TraceEntry, what: str, control: RunControl) -> Generator[Progress, None, Edits]:
    """The edits of a run, to be differentiated.

    Raises:
        RequestError: one of them cannot be.
    """
    base = traces.entry(entry.baseline, entry.session)
    bound = yield from bind_edit(traces, entry.request, base, entry.session, control, again=entry)
    if bound.edits.experts:
        layers = ", ".join(str(layer) for layer in sorted({edit.layer for edit in bound.edits.experts}))
        raise RequestError(
            f"{what}: expected edits that can be differentiated; single neurons of experts (act, layer {layers}) are "
            "changed after the experts have run. Edit mlp_out there, or ask the baseline"
        )
    bound.edits.for_slopes = True
    return bound.edits


def run_gradient(
    traces: Traces, view: GradientView, session: str, control: RunControl
) -> Generator[Progress, None, Gradient]:
    """The gradient at a site.

    Raises:
        RequestError: no such position, layer, token or site. ModelError: this model cannot be differentiated.
    """
    layer = index(view.layer, traces.model.dimensions.n_layers, "layer")
    asked = yield from _read(traces, view, session, control)
    yield Progress(0, 1, TEXT)
    metric_now, found = compute_site_gradient(asked.passage, asked.metric, view.site, layer)
    asked.check_metric(metric_now)
    values = np.zeros((*found.shape[:-2], asked.entry.length, found.shape[-1]), np.float32)
    values[..., : found.shape[-2], :] = found.cpu().numpy()
    metric, shown = asked.metric, traces.model.reader.shown
    return Gradient(
        trace=asked.entry.id,
        model=traces.model.name,
        site=view.site,
        layer=layer,
        position=metric.position,
        target_id=metric.target,
        contrast_id=-1 if metric.contrast is None else metric.contrast,
        target=shown(metric.target),
        contrast="" if metric.contrast is None else shown(metric.contrast),
        metric=float(metric(asked.logits)),
        values=values,
        notes=asked.read_notes(),
    )


@dataclass(slots=True)
class _Scores:
    """What a method found, up to the metric's position; see `Saliency`."""

    scores: Tensor
    held: Bool[np.ndarray, " T"]
    metric: float
    metric_reference: float | None = None
    steps: int = 0
    error: float | None = None
    converged: bool | None = None
    replaced_by: Int[np.ndarray, "T n"] | None = None
    notes: tuple[str, ...] = ()


def run_saliency(
    traces: Traces, view: SaliencyView, session: str, control: RunControl
) -> Generator[Progress, None, Saliency]:
    """A score for each token.

    Raises:
        RequestError: no such position or token, an edit that cannot be differentiated, or no token that the method can
            change.
        ModelError: the method needs gradients, and this model cannot be differentiated.
    """
    model = traces.model
    asked = yield from _read(traces, view, session, control)
    yield Progress(0, 1, TEXT)
    target, contrast = asked.metric.target, asked.metric.contrast
    noise = compute_two_steps(asked.logits[[target] if contrast is None else [target, contrast]], model.dtype)
    if view.method is SaliencyMethod.OCCLUSION:
        found = yield from _occlude(traces, view, asked)
    elif view.method is SaliencyMethod.INTEGRATED_GRADIENTS:
        found = yield from _integrate(view, asked, noise)
    else:
        slopes, metric = multiply_gradient(asked.passage, asked.metric)
        found = _Scores(slopes, np.zeros(asked.entry.length, bool), metric)
    asked.check_metric(found.metric)
    scores = np.zeros(asked.entry.length)
    scores[: len(found.scores)] = found.scores.numpy()
    integrated = view.method is SaliencyMethod.INTEGRATED_GRADIENTS
    return Saliency(
        trace=asked.entry.id,
        model=model.name,
        tokens=asked.entry.tokens,
        prompt_length=asked.entry.prompt_length,
        position=asked.metric.position,
        target_id=target,
        contrast_id=-1 if contrast is None else contrast,
        target=model.reader.shown(target),
        contrast="" if contrast is None else model.reader.shown(contrast),
        method=view.method,
        scores=scores,
        held=found.held,
        metric=found.metric,
        noise=noise,
        reference=view.reference if integrated else None,
        metric_reference=found.metric_reference,
        steps=found.steps,
        completeness_error=found.error,
        converged=found.converged,
        replaced_by=found.replaced_by,
        notes=(*asked.read_notes(), *found.notes),
    )


def _integrate(view: SaliencyView, asked: _Asked, noise: float) -> Generator[Progress, None, _Scores]:
    held = _find_held(asked, first=True)
    work = integrate_gradients(
        asked.passage,
        asked.metric,
        torch.from_numpy(held[: len(asked.passage.ids)]),
        view.reference,
        view.steps,
        noise,
    )
    found = yield from work
    size = max(abs(found.after - found.before), noise)
    notes: tuple[str, ...] = (
        "position 0 and special tokens stay as they are: heads rest there, and a text without them is no text",
    )
    if not found.converged:
        notes += (
            f"did not converge: the scores miss the change of {found.after - found.before:.3g} by {found.error:.2g}, "
            f"and more steps than {found.steps:,} did not help",
        )
    return _Scores(
        found.scores, held, found.after, found.before, found.steps, found.error / size, found.converged, notes=notes
    )


def _occlude(traces: Traces, view: SaliencyView, asked: _Asked) -> Generator[Progress, None, _Scores]:
    held = _find_held(asked, first=False)
    drawn = draw_other_tokens(traces.model, asked.passage.ids, held, view.draws, view.seed)
    scores, metric = yield from occlude(asked.passage, asked.data, asked.metric, torch.from_numpy(drawn))
    return _Scores(scores, held, metric, replaced_by=drawn)


def _find_held(asked: _Asked, first: bool) -> np.ndarray:
    """Which tokens stay as they are, (T,). first: position 0 too.

    Raises:
        RequestError: no token is left.
    """
    held = np.array([token.is_special for token in asked.entry.tokens])
    held[0] |= first
    if held[: len(asked.passage.ids)].all():
        allowed = "one that has a token up to it that is no special token" + (
            ", other than position 0" if first else ""
        )
        raise RequestError(expected("position", allowed, asked.metric.position))
    return held


def draw_other_tokens(model: LoadedModel, ids: Sequence[int], held: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Other tokens for each position, (T, draws): text of the vocabulary, each as likely; −1 where none is needed.

    held: (T,) which tokens stay; ids may end before.

    Raises:
        RequestError: the vocabulary has no other token.
    """
    reader, size = model.reader, model.dimensions.d_vocab
    usual = np.array([i for i in range(size) if reader.kind(i) is TokenKind.WORD])
    drawn = np.full((len(held), draws), -1)
    for position, id in enumerate(ids):
        others = usual[usual != id]
        if not len(others):
            raise RequestError("occlusion: expected a vocabulary with other tokens to put in; it has none")
        if not held[position]:
            # each position has numbers of its own, so that a longer text draws the same ones at its beginning
            generator = np.random.default_rng((seed, position))
            drawn[position] = generator.choice(others, draws, replace=len(others) < draws)
    return drawn
