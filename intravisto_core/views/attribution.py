"""Direct logit attribution of one prediction (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.attribution import (
    MEAN,
    MEAN_SHOWN,
    Direction,
    NeuronBlock,
    Partition,
    add_biases,
    add_embeddings,
    add_heads,
    add_neurons,
    cap_logits,
    compute_reader,
    compute_uncapped_logits,
)
from intravisto_core.analysis.experts import read_mixture, run_expert
from intravisto_core.progress import Progress
from intravisto_core.records import Attribution
from intravisto_core.request import AttributionView
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Part, Refinement, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast


@dataclass(slots=True)
class Parts:
    """The listed parts as arrays (see Attribution)."""

    kind: np.ndarray
    layer: np.ndarray
    index: np.ndarray
    expert: np.ndarray
    value: np.ndarray


def compute_attribution(context: ViewContext, view: AttributionView) -> Generator[Progress, None, Attribution]:
    """The record of an attribution; a turn is a layer that is refined.

    Raises:
        RequestError: no such position, layer or token, or target and contrast are the same.
        ModelError: heads or neurons are asked of a model that fails their identity.
    """
    model, data, entry = context.model, context.data, context.entry
    position = index(view.position, entry.length, "position")
    stream = data.final[position]
    raw = compute_uncapped_logits(model, stream)
    target, contrast, notes = target_and_contrast(model, raw, view.target, view.contrast, DefaultContrast.MEAN)
    direction = Direction.of(model, target, contrast)
    g = compute_reader(model, direction, stream)
    partition = Partition()
    add_embeddings(partition, model, entry.tokens[position].id, data.site(Site.RESID_PRE, 0)[position], g)
    yield from _layers(context, view, partition, position, g)
    add_biases(partition, model, direction)
    parts = _listed(partition, view.n)
    logit = direction.pick(raw)
    return Attribution(
        trace=entry.id,
        model=model.name,
        n_layers=model.dimensions.n_layers,
        prompt_length=entry.prompt_length,
        tokens=entry.tokens,
        position=position,
        target_id=target,
        contrast_id=contrast,
        target=model.reader.shown(target),
        contrast=MEAN_SHOWN if contrast == MEAN else model.reader.shown(contrast),
        by=view.by,
        kind=parts.kind,
        layer=parts.layer,
        index=parts.index,
        expert=parts.expert,
        value=parts.value,
        accumulated=np.array([*_accumulated(context, position, g), logit]),
        logit=logit,
        capped=direction.pick(cap_logits(model, raw)),
        remainder=logit - float(parts.value.sum()),
        soft_cap=model.blueprint.soft_cap,
        notes=(*entry.notes, *notes),
    )


def _layers(
    context: ViewContext, view: AttributionView, partition: Partition, position: int, g: Tensor
) -> Generator[Progress, None, None]:
    """What every block adds, cut as finely as asked."""
    n_layers, data = context.model.dimensions.n_layers, context.data
    heads, neurons = view.by is not Refinement.COMPONENTS, view.by is Refinement.NEURONS
    if heads:
        context.card.require(Capability.HEADS)
    if neurons:
        context.card.require(Capability.NEURONS)
    only = None if view.layer is None else index(view.layer, n_layers, "layer")
    for layer in range(n_layers):
        fine = only is None or only == layer
        if heads and fine:
            add_heads(partition, context.model, layer, data.site(Site.Z, layer)[:, position], g)
        else:
            partition.add(Part.ATTENTION, data.site(Site.ATTN_OUT, layer)[position].float() @ g, layer)
        if neurons and fine:
            add_neurons(partition, context.model, layer, _neurons(context, layer, position), g)
        else:
            partition.add(Part.MLP, data.site(Site.MLP_OUT, layer)[position].float() @ g, layer)
        if fine and heads:
            yield Progress(layer + 1, n_layers, "attribution")


def _neurons(context: ViewContext, layer: int, position: int) -> list[NeuronBlock]:
    """The neurons of a layer at one position; in a mixture of experts, those of each expert chosen there."""
    model, data = context.model, context.data
    if model.blueprint.blocks[layer].experts is not None:
        here = data.routed(layer).at(position)
        ids, weights = read_mixture(model, layer, here)
        return [
            NeuronBlock(
                e,
                f"expert_out.{layer}.{e}",
                data.expert(layer, e, run_expert(model, layer, e, here), position).act[0],
                w,
            )
            for e, w in zip(ids[0].tolist(), weights[0].tolist(), strict=True)
        ]
    return [NeuronBlock(-1, f"w_out.{layer}", context.data.site(Site.ACT, layer)[position])]


def _accumulated(context: ViewContext, position: int, g: Tensor) -> list[float]:
    """What the stream adds at rows 0 … L."""
    data, n_layers = context.data, context.model.dimensions.n_layers
    streams = [data.site(Site.RESID_PRE, 0), *(data.site(Site.RESID_POST, layer) for layer in range(n_layers))]
    return [float(x[position].float() @ g) for x in streams]


def _listed(partition: Partition, n: int | None) -> Parts:
    """Parts as arrays; of the neurons the n largest, the others of a layer (and expert) as one part."""
    least = _least_neuron(partition, n)
    rows: list[tuple[Part, int, int, int, float]] = []
    for kind, layer, expert, values in zip(
        partition.kinds, partition.layers, partition.experts, partition.values, strict=True
    ):
        if kind not in (Part.HEAD, Part.NEURON):
            rows.append((kind, layer, -1, expert, float(values[0])))
            continue
        large = values.abs() >= least if kind is Part.NEURON else torch.ones_like(values, dtype=torch.bool)
        rows += [(kind, layer, i, expert, float(values[i])) for i in large.nonzero()[:, 0].tolist()]
        if not large.all():
            rows.append((Part.OTHER_NEURONS, layer, int((~large).sum()), expert, float(values[~large].sum())))
    kinds, layers, indices, experts, found = zip(*rows, strict=True)
    return Parts(
        np.array([str(k) for k in kinds]),
        np.array(layers, np.int32),
        np.array(indices, np.int32),
        np.array(experts, np.int32),
        np.array(found, np.float64),
    )


def _least_neuron(partition: Partition, n: int | None) -> float:
    """The size that a listed neuron has at least."""
    sizes = [v.abs() for k, v in zip(partition.kinds, partition.values, strict=True) if k is Part.NEURON]
    if not sizes or n is None:
        return 0.0
    every = torch.cat(sizes)
    if n == 0:
        return float("inf")
    return 0.0 if n >= len(every) else float(every.topk(n).values[-1])
