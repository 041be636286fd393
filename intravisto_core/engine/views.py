"""Every other view of a trace: shares, activations, patterns, logits."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.decoding import tile_positions
from intravisto_core.analysis.lenses import Projection, logit_matrix
from intravisto_core.analysis.parts import head_outs
from intravisto_core.analysis.shares import shares
from intravisto_core.engine.base import Progress
from intravisto_core.engine.context import Arrays, ViewContext
from intravisto_core.engine.junctions import EDIT_NAMES, SHARE_NAMES, edited_streams, junctions
from intravisto_core.engine.select import index
from intravisto_core.errors import ModelError, RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.records import Activation, AttentionSink, Logits, ModelCard, Pattern, Shares
from intravisto_core.request import ActivationView, AttentionSinkView, LogitsView, PatternView, SharesView
from intravisto_core.sites import BlockKind, Capability, ShareMeasure, Site
from intravisto_core.tracing import TraceData

PATTERN_ELEMENTS = 2**25  # of patterns at a time
_RESTS_ON = {
    Site.ACT: Capability.NEURONS,
    Site.Q: Capability.PATTERN,
    Site.K: Capability.PATTERN,
    Site.V: Capability.PATTERN,
}


def need(card: ModelCard, capability: Capability) -> None:
    """Refuse a view whose identity failed.

    Raises:
        ModelError: with the measured error and the reason.
    """
    found = card.capabilities[capability]
    if not found.ok:
        raise ModelError(f"{capability.label}: not shown for this model: {found.reason}")


def output_logits(model: LoadedModel, x: Tensor) -> Tensor:
    """The output lens with the final norm on any vectors (n, d) → (n, V)."""
    ones = torch.ones(x.shape[0], device=x.device)
    return logit_matrix(model, Projection(model.final_state(x), ones))


def share_table(context: ViewContext, measure: ShareMeasure) -> Generator[Progress, None, Arrays]:
    """Shares at every junction, (L, T) by the names of `SHARE_NAMES`; a turn is a layer (KL: a few positions of one).

    In a parallel block the stream's share is that of the one junction, under both its names. Of an edited trace also by
    `EDIT_NAMES`, 0 where nothing was edited.
    """
    kept: Arrays | None = context.look(("shares", measure))
    if kept is not None:
        return kept
    model, length = context.model, context.entry.length
    n_layers = model.dimensions.n_layers
    out = {name: np.full((n_layers, length), np.nan, np.float32) for name in SHARE_NAMES}
    by_kl = measure in (ShareMeasure.KL, ShareMeasure.KL_PAIR)
    step = tile_positions(4, model.dimensions.d_vocab) if by_kl else length
    edited = edited_streams(context)
    if edited:
        out |= {name: np.zeros((n_layers, length), np.float32) for name in EDIT_NAMES}
    for layer in range(n_layers):
        for start in range(0, length, step):
            span = slice(start, start + step)
            for junction in junctions(model, context.data, layer, edited):
                stacked = torch.stack([p[span] for p in junction.parts])
                found = shares(stacked, measure, lambda x: output_logits(model, x))
                for name, share in zip(junction.names, found, strict=True):
                    out[name][layer, span] = share.cpu().numpy()
            yield Progress(layer + 1, n_layers, "shares")
    if model.blueprint.parallel:
        out["residual_mlp"] = out["residual_attention"]
    return context.keep(("shares", measure), out)


def draw_shares(context: ViewContext, view: SharesView) -> Generator[Progress, None, Shares]:
    """Shares at every junction of the trace."""
    table = yield from share_table(context, view.measure)
    return Shares(
        trace=context.entry.id,
        measure=view.measure,
        block=str(BlockKind.PARALLEL if context.model.blueprint.parallel else BlockKind.SERIAL),
        **table,
        tokens=context.entry.tokens,
    )


def draw_activation(context: ViewContext, view: ActivationView) -> Generator[Progress, None, Activation]:
    """Captured values as they are, in float32.

    Raises:
        RequestError: no such layer or head, or a site that this model does not have.
    """
    model, data, entry = context.model, context.data, context.entry
    if view.site is Site.RESID_MID and model.blueprint.parallel:
        raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
    layer, head = index(view.layer, model.dimensions.n_layers, "layer"), view.head
    if head is not None and not view.site.per_head:
        raise RequestError(f"head: {view.site} is not split by head. Leave the head out")
    if view.site is Site.PATTERN:
        need(context.card, Capability.PATTERN)
        if head is not None:
            head = index(head, model.dimensions.n_heads, "head")
            yield Progress(1, 1)
            values = layer_pattern(data, layer, slice(head, head + 1))[0]
            return Activation(entry.id, view.site, layer, head, values.cpu().numpy())
        values = layer_pattern(data, layer)
    elif view.site is Site.HEAD_OUT:
        need(context.card, Capability.HEADS)
        values = head_outs(model, layer, data.site(Site.Z, layer))
    else:
        if view.site in _RESTS_ON:
            need(context.card, _RESTS_ON[view.site])
        if view.site is Site.ACT and model.blueprint.architecture.w_out is None:
            raise RequestError("act: in this model experts take turns. Ask for experts(layer, expert)")
        values = data.site(view.site, layer)
    if head is not None:
        head = index(head, values.shape[0], "head")
        values = values[head]
    yield Progress(1, 1)
    return Activation(entry.id, view.site, layer, head, values.float().cpu().numpy())


def layer_pattern(data: TraceData, layer: int, heads: slice = slice(None)) -> Tensor:
    """The pattern of query heads of a layer, (heads, T, T), from the captured q and k."""
    return data.pattern(layer, heads)


def draw_pattern(context: ViewContext, view: PatternView) -> Generator[Progress, None, Pattern]:
    """The pattern of one head, from the captured q and k."""
    model, data, entry = context.model, context.data, context.entry
    need(context.card, Capability.PATTERN)
    layer = index(view.layer, model.dimensions.n_layers, "layer")
    head = index(view.head, model.dimensions.n_heads, "head")
    weights = layer_pattern(data, layer, slice(head, head + 1))
    yield Progress(1, 1)
    return Pattern(entry.id, layer, head, weights[0].cpu().numpy(), entry.tokens)


def draw_attention_sink(context: ViewContext, view: AttentionSinkView) -> Generator[Progress, None, AttentionSink]:
    """Attention to position 0 and to learned sinks, a mean for each head; a turn is some heads of a layer."""
    data, entry, size = context.data, context.entry, context.model.dimensions
    need(context.card, Capability.PATTERN)
    first = np.full((size.n_layers, size.n_heads), np.nan, np.float32)
    learned = first.copy()
    step = max(1, PATTERN_ELEMENTS // entry.length**2)
    for layer in range(size.n_layers):
        for start in range(0, size.n_heads, step) if entry.length > 1 else ():
            heads = slice(start, start + step)
            weights = data.pattern(layer, heads)[:, 1:]
            first[layer, heads] = weights[..., 0].mean(-1).cpu().numpy()
            learned[layer, heads] = (1 - weights.sum(-1)).clamp(0, 1).mean(-1).cpu().numpy()
            yield Progress(layer + 1, size.n_layers, "attention to position 0")
    yield Progress(size.n_layers, size.n_layers)
    return AttentionSink(entry.id, first, learned)


def draw_logits(context: ViewContext, view: LogitsView) -> Generator[Progress, None, Logits]:
    """The model's own logits: kept for the last position, else from the kept final stream by its own norm and head."""
    model, data, entry = context.model, context.data, context.entry
    position = index(view.position, entry.length, "position")
    last = position == entry.length - 1
    values = data.last_logits if last else model.logits(data.final[position : position + 1])[0]
    yield Progress(1, 1)
    return Logits(entry.id, position, values.cpu().numpy())
