"""What a run captured, as it is: activations, attention patterns and sinks, logits."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from intravisto_core.analysis.parts import compute_head_outs
from intravisto_core.errors import RequestError
from intravisto_core.progress import Progress
from intravisto_core.records import Activation, AttentionSink, Logits, Pattern
from intravisto_core.request import ActivationView, AttentionSinkView, LogitsView, PatternView
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Site
from intravisto_core.views.context import ViewContext

PATTERN_ELEMENTS = 2**25  # of patterns at a time
_RESTS_ON = {
    Site.ACT: Capability.NEURONS,
    Site.Q: Capability.PATTERN,
    Site.K: Capability.PATTERN,
    Site.V: Capability.PATTERN,
}


def compute_activation(context: ViewContext, view: ActivationView) -> Generator[Progress, None, Activation]:
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
        context.card.require(Capability.PATTERN)
        if head is not None:
            head = index(head, model.dimensions.n_heads, "head")
            yield Progress(1, 1)
            values = data.pattern(layer, slice(head, head + 1))[0]
            return Activation(entry.id, view.site, layer, head, values.cpu().numpy())
        values = data.pattern(layer)
    elif view.site is Site.HEAD_OUT:
        context.card.require(Capability.HEADS)
        values = compute_head_outs(model, layer, data.site(Site.Z, layer))
    else:
        if view.site in _RESTS_ON:
            context.card.require(_RESTS_ON[view.site])
        if view.site is Site.ACT and model.blueprint.architecture.w_out is None:
            raise RequestError("act: this model is a mixture of experts. Ask for experts(layer, expert)")
        values = data.site(view.site, layer)
    if head is not None:
        head = index(head, values.shape[0], "head")
        values = values[head]
    yield Progress(1, 1)
    return Activation(entry.id, view.site, layer, head, values.float().cpu().numpy())


def compute_pattern(context: ViewContext, view: PatternView) -> Generator[Progress, None, Pattern]:
    """The pattern of one head, from the captured q and k."""
    model, data, entry = context.model, context.data, context.entry
    context.card.require(Capability.PATTERN)
    layer = index(view.layer, model.dimensions.n_layers, "layer")
    head = index(view.head, model.dimensions.n_heads, "head")
    weights = data.pattern(layer, slice(head, head + 1))
    yield Progress(1, 1)
    return Pattern(entry.id, layer, head, weights[0].cpu().numpy(), entry.tokens)


def compute_attention_sink(context: ViewContext, view: AttentionSinkView) -> Generator[Progress, None, AttentionSink]:
    """Attention to position 0 and to learned sinks, a mean for each head; a turn is some heads of a layer."""
    data, entry, size = context.data, context.entry, context.model.dimensions
    context.card.require(Capability.PATTERN)
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


def compute_logits(context: ViewContext, view: LogitsView) -> Generator[Progress, None, Logits]:
    """The model's own logits: kept for the last position, else from the kept final stream by its own norm and head."""
    model, data, entry = context.model, context.data, context.entry
    position = index(view.position, entry.length, "position")
    last = position == entry.length - 1
    values = data.last_logits if last else model.logits(data.final[position : position + 1])[0]
    yield Progress(1, 1)
    return Logits(entry.id, position, values.cpu().numpy())
