"""Where each generated token came from (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from intravisto_core.analysis.division import divide_by_head
from intravisto_core.analysis.flow import SMALLEST
from intravisto_core.progress import Progress
from intravisto_core.records import Route
from intravisto_core.request import RouteView
from intravisto_core.request.flow import GENERATED
from intravisto_core.sites import AttentionDivision, SinkHandling
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.flow import hand_down_mass
from intravisto_core.views.flow.shares import (
    compute_blocks,
    compute_length_scale,
    divide_in_stretches,
    has_sinks,
    read_attention,
    read_start_positions,
    set_sinks_aside,
)
from intravisto_core.views.sinks import read_sinks


def compute_route(context: ViewContext, view: RouteView) -> Generator[Progress, None, Route]:
    """All flows of a generation side by side; a turn is a layer that was not kept.

    Raises:
        RequestError: no token was generated.
    """
    entry, size = context.entry, context.model.dimensions
    says = read_start_positions(context, GENERATED)
    whole = yield from compute_blocks(context, view.measure, view.attention)
    sinks = yield from read_sinks(context)
    blocks = set_sinks_aside(whole, sinks, view.sinks)
    start = np.zeros((len(says), entry.length))
    start[np.arange(len(says)), list(says)] = 1
    masses = yield from hand_down_mass(context, start, size.n_layers + 1, blocks)
    heads = np.zeros((len(says), size.n_layers, size.n_heads))
    for layer in range(size.n_layers):
        brought = context.find(("brought", view.attention, layer))
        if brought is None:
            scale = yield from compute_length_scale(context, layer, view.attention, heads=True)
            found = _brought(context, layer, view.attention, scale, sinks[layer])
            brought = context.keep(("brought", view.attention, layer), found)
            yield Progress(layer + 1, size.n_layers, "heads")
        shown = view.sinks is SinkHandling.SHOW
        share = brought["elsewhere"] if shown else brought["elsewhere"] - brought["sinks"]
        if view.sinks is SinkHandling.RENORMALISE:
            left = np.full(entry.length, np.inf)
            for at, rows in whole[layer].sources.stretches(np.flatnonzero(masses.attention[layer + 1].any(0))):
                left[at] = 1 - rows.positions[:, sinks[layer]].sum(1)
            share = share / np.where(np.abs(left) > SMALLEST, left, np.inf)
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
        sinks=view.sinks,
        notes=tuple(entry.notes),
    )


def _brought(
    context: ViewContext, layer: int, division: AttentionDivision, scale: float | None, sinks: np.ndarray
) -> dict[str, np.ndarray]:
    """What each head brings to each query from other positions, (H, T), and what of it from attention sinks."""
    of_sinks = torch.from_numpy(sinks)
    pieces = []
    for part in divide_in_stretches(context, np.arange(context.entry.length)):
        queries = torch.from_numpy(part)
        pattern, what, edited = read_attention(context, layer, division, queries)
        shares = divide_by_head(division, pattern, what, has_sinks(context, layer), edited, scale).parts.nan_to_num()
        own = shares[:, torch.arange(len(part)), queries]
        given = shares[:, :, of_sinks].sum(-1) - own * torch.isin(queries, of_sinks).to(own)
        pieces.append([x.cpu().numpy() for x in (shares.sum(-1) - own, given)])
    elsewhere, to_sinks = (np.concatenate(columns, 1) for columns in zip(*pieces, strict=True))
    return {"elsewhere": elsewhere, "sinks": to_sinks}
