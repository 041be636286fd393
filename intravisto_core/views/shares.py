"""How much attention and MLP count where they join the stream (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from intravisto_core.analysis.decoding import count_tile_positions
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.analysis.shares import measure_shares
from intravisto_core.progress import Progress
from intravisto_core.records import Shares
from intravisto_core.request import SharesView
from intravisto_core.sites import BlockKind, ShareMeasure
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.junctions import EDIT_NAMES, SHARE_NAMES, collect_junctions, rebuild_streams


def compute_share_table(context: ViewContext, measure: ShareMeasure) -> Generator[Progress, None, Arrays]:
    """Shares at every junction, (L, T) by the names of `SHARE_NAMES`; a turn is a layer (KL: a few positions of one).

    In a parallel block the stream's share is that of the one junction, under both its names. Of an edited trace also by
    `EDIT_NAMES`, 0 where nothing was edited.
    """
    kept: Arrays | None = context.find(("shares", measure))
    if kept is not None:
        return kept
    model, length = context.model, context.entry.length
    n_layers = model.dimensions.n_layers
    out = {name: np.full((n_layers, length), np.nan, np.float32) for name in SHARE_NAMES}
    by_kl = measure in (ShareMeasure.KL, ShareMeasure.KL_PAIR)
    step = count_tile_positions(4, model.dimensions.d_vocab) if by_kl else length
    edited = rebuild_streams(context)
    if edited:
        out |= {name: np.zeros((n_layers, length), np.float32) for name in EDIT_NAMES}
    for layer in range(n_layers):
        for start in range(0, length, step):
            span = slice(start, start + step)
            for junction in collect_junctions(model, context.data, layer, edited):
                stacked = torch.stack([p[span] for p in junction.parts])
                found = measure_shares(stacked, measure, lambda x: compute_output_logits(model, x))
                for name, share in zip(junction.names, found, strict=True):
                    out[name][layer, span] = share.cpu().numpy()
            yield Progress(layer + 1, n_layers, "shares")
    if model.blueprint.parallel:
        out["residual_mlp"] = out["residual_attention"]
    return context.keep(("shares", measure), out)


def compute_shares(context: ViewContext, view: SharesView) -> Generator[Progress, None, Shares]:
    """Shares at every junction of the trace."""
    table = yield from compute_share_table(context, view.measure)
    return Shares(
        model=context.model.name,
        trace=context.entry.id,
        measure=view.measure,
        block=str(BlockKind.PARALLEL if context.model.blueprint.parallel else BlockKind.SERIAL),
        **table,
        tokens=context.entry.tokens,
    )
