"""Where each generated token came from (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from intravisto_core.analysis.division import by_head
from intravisto_core.analysis.flow import propagate
from intravisto_core.engine.base import Progress
from intravisto_core.engine.context import ViewContext
from intravisto_core.engine.flow_parts import attention_of, flow_blocks, has_sinks, start_positions, without_start
from intravisto_core.records import Route
from intravisto_core.request import RouteView
from intravisto_core.request.flow import GENERATED
from intravisto_core.sites import AttentionDivision


def draw_route(context: ViewContext, view: RouteView) -> Generator[Progress, None, Route]:
    """All flows of a generation side by side; a turn is a layer that was not kept.

    Raises:
        RequestError: no token was generated.
    """
    entry, size = context.entry, context.model.dimensions
    says = start_positions(context, GENERATED)
    whole = yield from flow_blocks(context, view.measure, view.attention)
    blocks, parallel = without_start(whole, view.hide_start, view.reweigh), context.model.blueprint.parallel
    start = np.zeros((len(says), entry.length))
    start[np.arange(len(says)), list(says)] = 1
    masses = propagate(start, size.n_layers + 1, blocks, parallel)
    heads = np.zeros((len(says), size.n_layers, size.n_heads))
    for layer in range(size.n_layers):
        brought = context.look(("brought", view.attention, layer))
        if brought is None:
            brought = context.keep(("brought", view.attention, layer), _brought(context, layer, view.attention))
            yield Progress(layer + 1, size.n_layers, "heads")
        share = brought["elsewhere"] - brought["start"] if view.hide_start else brought["elsewhere"]
        if view.reweigh:
            left = 1 - whole[layer].sources.positions[:, 0]
            share = share / np.where(np.abs(left) > 1e-6, left, np.inf)
        heads[:, layer] = masses.attention[layer + 1] @ share.T
    return Route(
        trace=entry.id,
        model=context.model.name,
        n_layers=size.n_layers,
        prompt_length=entry.prompt_length,
        tokens=entry.tokens,
        measure=view.measure,
        attention_division=view.attention,
        positions=np.array(says) + 1,
        sources=masses.block[0],
        attention=masses.attention[1:-1].sum(-1).T,
        mlp=masses.mlp[1:-1].sum(-1).T,
        heads=heads,
        lost=masses.lost.sum(0),
        conservation=masses.error(size.n_layers + 1),
        notes=tuple(entry.notes),
    )


def _brought(context: ViewContext, layer: int, division: AttentionDivision) -> dict[str, np.ndarray]:
    """What each head brings to each query from other positions, (H, T), and what of it from position 0."""
    pattern, what, edited = attention_of(context, layer, division)
    shares = by_head(division, pattern, what, has_sinks(context, layer), edited).parts.nan_to_num()
    diagonal = shares.diagonal(dim1=1, dim2=2)
    start = shares[:, :, 0].clone()
    start[:, 0] = 0
    return {"elsewhere": (shares.sum(-1) - diagonal).cpu().numpy(), "start": start.cpu().numpy()}
