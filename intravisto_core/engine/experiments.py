"""Experiments as jobs: checking links, and concept directions from prompts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from intravisto_core.analysis.effects import rank_correlation
from intravisto_core.engine.base import Progress
from intravisto_core.engine.compare import token_id
from intravisto_core.engine.edit import NEEDS, prompt_set
from intravisto_core.engine.select import index
from intravisto_core.engine.views import need
from intravisto_core.errors import RequestError
from intravisto_core.experiments.check_links import check_links
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.models import LoadedModel
from intravisto_core.records import ConceptDirection, LinkCheck
from intravisto_core.request import DirectionRequest, Link, LinkCheckView
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Capability, Component
from intravisto_core.tracing import RunControl, TraceData

if TYPE_CHECKING:
    from intravisto_core.engine.local import LocalEngine


def run_link_check(
    engine: LocalEngine, view: LinkCheckView, session: str, control: RunControl
) -> Generator[Progress, None, LinkCheck]:
    """Predicted and measured effects of links.

    Raises:
        RequestError: a place out of range. ModelError: an identity or gradients that the links need are missing.
    """
    model, entry = engine._model, engine._entry(view.trace, session)
    data: TraceData = yield from engine._data(entry)
    if entry.request.interventions:
        raise RequestError("check_links: expected an unedited trace; got an edited one. Check its baseline's links")
    position = index(view.position, entry.length, "position")
    target, contrast = _tokens(engine, view, data, position)
    links = [_placed(engine, link, entry.length) for link in view.links]
    turns = check_links(model, data, links, Metric(target, contrast, position))
    while True:
        try:
            yield Progress(next(turns), len(links), "taking links away")
        except StopIteration as end:
            found = end.value
            break
    predicted, measured = found.predicted.numpy(), found.measured.numpy()
    numbers = {
        name: np.array([-1 if (v := getattr(link, field)) is None else v for link in links])
        for name, field in (("layer", "layer"), ("at", "position"), *((n, n) for n in ("source", "head")))
    }
    pairs = [link.neuron if isinstance(link.neuron, tuple) else (-1, link.neuron) for link in links]
    numbers["expert"] = np.array([expert for expert, _ in pairs])
    numbers["neuron"] = np.array([-1 if neuron is None else neuron for _, neuron in pairs])
    return LinkCheck(
        trace=entry.id,
        target=target,
        contrast=contrast,
        position=position,
        metric=found.metric,
        labels=tuple(_label(link) for link in links),
        component=tuple(link.component for link in links),
        **numbers,
        predicted=predicted,
        measured=measured,
        size=found.size.numpy(),
        noise=found.noise,
        rank_correlation=rank_correlation(predicted, measured),
        shown={i: model.reader.shown(i) for i in (target, contrast)},
        notes=tuple(entry.notes),
    )


def _tokens(engine: LocalEngine, view: LinkCheckView, data: TraceData, position: int) -> tuple[int, int]:
    best = engine._model.logits(data.final[position : position + 1])[0].topk(2).indices.tolist()
    target = best[0] if view.target is None else token_id(engine._model, view.target, "target")
    contrast = next(i for i in best if i != target)
    return target, contrast if view.contrast is None else token_id(engine._model, view.contrast, "contrast")


def _placed(engine: LocalEngine, link: Link, length: int) -> Link:
    """A link with its places counted from 0, checked against the model and what the model may be asked."""
    size = engine._model.dimensions
    if link.component is Component.ATTENTION and (link.head is not None or link.source is not None):
        need(engine._card, Capability.PATTERN)
        need(engine._card, Capability.HEADS)
    if link.neuron is not None:
        need(engine._card, Capability.NEURONS)
        if not isinstance(link.neuron, tuple) and engine._model.blueprint.architecture.w_out is not None:
            index(link.neuron, size.d_mlp, "neuron")
    if link.head is not None:
        index(link.head, size.n_heads, "head")
    return replace(
        link,
        layer=index(link.layer, size.n_layers, "layer"),
        position=index(link.position, length, "position"),
        source=None if link.source is None else index(link.source, length, "source"),
    )


def _label(link: Link) -> str:
    what = link.component.label
    if link.component is Component.BLOCK:
        what = "stream before the block"
    elif link.component is Component.MID:
        what = "stream after attention"
    if link.head is not None:
        what = f"head {link.head}"
    if link.neuron is not None:
        expert, neuron = link.neuron if isinstance(link.neuron, tuple) else (-1, link.neuron)
        what = f"neuron {neuron}" if expert < 0 else f"expert {expert}, neuron {neuron}"
    if link.source is not None:
        what += f" from position {link.source}"
    return f"layer {link.layer}, position {link.position}: {what}"


def run_direction(
    engine: LocalEngine, request: DirectionRequest, session: str, control: RunControl
) -> Generator[Progress, None, ConceptDirection]:
    """The mean state of some prompts less that of others, scaled to 1.

    Raises:
        RequestError: a place out of range, or two sets whose means are equal.
    """
    model = engine._model
    if request.site in NEEDS:
        raise RequestError(f"site: expected one in the stream's space; got {request.site}")
    layer = index(request.layer, model.dimensions.n_layers, "layer")
    means = []
    for prompts in (request.positive, request.negative):
        runs = yield from prompt_set(engine, prompts, (request.site,), control)
        means.append(_mean(model, runs, request, layer) if runs else torch.zeros((), device=model.device))
    difference = means[0] - means[1]
    strength = float(difference.norm())
    if not strength > 0:
        raise RequestError("negative: expected prompts that differ from the positive ones; their means are equal")
    n, less = len(request.positive), len(request.negative)
    many = f"{n} prompt{'s' if n > 1 else ''}" + (f" less {less}" if less else "")
    return ConceptDirection(
        name=request.name,
        vector=(difference / strength).cpu().numpy(),
        made_of=f"{many}, {request.site.label} of layer {layer}",
        model=model.resolved,
        strength=strength,
        site=str(request.site),
        layer=layer,
    )


def _mean(model: LoadedModel, runs: list[TraceData], request: DirectionRequest, layer: int) -> torch.Tensor:
    """Over prompts, of the mean over the asked positions of each."""
    rows = []
    for data in runs:
        places = resolve(request.positions, data.prompt_length, data.length)
        rows.append(data.site(request.site, layer)[list(places)].float().mean(0))
    return torch.stack(rows).mean(0)


EXPERIMENTS: dict[type, Callable[..., Generator[Progress, None, Any]]] = {
    LinkCheckView: run_link_check,
    DirectionRequest: run_direction,
}
