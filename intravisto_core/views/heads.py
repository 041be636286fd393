"""What every head does on a text: what it looks at, by kinds of keys, and as a small picture."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from intravisto_core.analysis.head_targets import TargetSums, code_shares, pool_keys, split_evenly
from intravisto_core.analysis.sinks import Looks
from intravisto_core.progress import Progress
from intravisto_core.records import HeadPatterns, HeadTargets
from intravisto_core.request import HeadPatternsView, HeadTargetsView
from intravisto_core.sites import AttentionDivision, Capability, HeadTarget, SinkHandling
from intravisto_core.views.attention import HeadRows, list_notes, read_hidden
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.sinks import decide_layer, keep_layers, list_possible


def compute_head_targets(context: ViewContext, view: HeadTargetsView) -> Generator[Progress, None, HeadTargets]:
    """What every head gives to each kind of keys; a turn is some queries of a layer.

    Raises:
        ModelError: this model fails the identity that the patterns rest on.
    """
    context.card.require(Capability.PATTERN)
    # one pass tells what heads look at and which keys are sinks
    sums = yield from _read_sums(context)
    sinks = yield from read_hidden(context, SinkHandling.HIDE, view.shown_sinks)
    layers = [each.finish(flags) for each, flags in zip(sums, sinks, strict=True)]
    table: Arrays = {name: np.stack([each[name] for each in layers]) for name in layers[0]}
    positions = tuple(tuple(torch.nonzero(flags)[:, 0].tolist()) for flags in sinks)
    return HeadTargets(
        trace=context.entry.id,
        model=context.model.name,
        tokens=context.entry.tokens,
        classes=tuple(HeadTarget),
        sink_positions=positions,
        notes=list_notes(context),
        **table,
    )


def _read_sums(context: ViewContext) -> Generator[Progress, None, list[TargetSums]]:
    """The sums of each layer, computed once a trace; where the sinks are not known yet, they are found on the way."""
    kept: list[TargetSums] | None = context.find("target sums")
    return context.keep("target sums", (yield from _measure_sums(context))) if kept is None else kept


def _measure_sums(context: ViewContext) -> Generator[Progress, None, list[TargetSums]]:
    size, length, data = context.model.dimensions, context.entry.length, context.data
    device = data.final.device
    ids, layers, found_sinks = torch.tensor(data.ids, device=device), [], []
    known = context.find("sinks")
    for layer in range(size.n_layers):
        rows = _all_heads(context, layer, torch.zeros(length, dtype=torch.bool))
        keys = list_possible(context, layer) if known is None else np.flatnonzero(known["is_sink"][layer])
        sums, facts = TargetSums.nothing(size.n_heads, torch.from_numpy(keys)), data.facts[layer]
        looks = Looks.nothing(size.n_heads, length) if known is None else None
        learned = facts is not None and facts.sinks is not None
        for some in rows.steps(range(length)):
            found, queries = rows.compute(some), torch.tensor(some, device=device)
            sums.add(queries, found.weights, found.start, ids, learned)
            if looks is not None:
                at = torch.tensor(some)
                looks.add(at, found.weights, data.first[layer][at], data.last[layer][at], found.start)
            yield Progress(layer * length + some[-1] + 1, size.n_layers * length, "what heads look at")
        layers.append(sums)
        if looks is not None:
            found_sinks.append(decide_layer(context, layer, looks))
    if found_sinks:
        keep_layers(context, found_sinks)
    return layers


def compute_head_patterns(context: ViewContext, view: HeadPatternsView) -> Generator[Progress, None, HeadPatterns]:
    """A small picture of every head; a turn is some queries of a layer.

    Raises:
        ModelError: this model fails the identity that the patterns rest on.
    """
    context.card.require(Capability.PATTERN)
    size, length = context.model.dimensions, context.entry.length
    hidden = yield from read_hidden(context, view.sinks, view.shown_sinks)
    bounds, pictures = split_evenly(length, view.size), []
    for layer in range(size.n_layers):
        rows = _all_heads(context, layer, hidden[layer])
        sums = np.zeros((size.n_heads, len(bounds) - 1, length))
        for field in range(len(bounds) - 1):
            for some in rows.steps(range(bounds[field], bounds[field + 1])):
                found = rows.compute(some)
                found = found.renormalised() if view.sinks is SinkHandling.RENORMALISE else found
                sums[:, field] += found.whole(length).sum(1).cpu().numpy()
            yield Progress(layer * length + int(bounds[field + 1]), size.n_layers * length, "pictures of heads")
        pictures.append(code_shares(pool_keys(sums, bounds)))
    return HeadPatterns(
        trace=context.entry.id,
        model=context.model.name,
        tokens=context.entry.tokens,
        bounds=bounds,
        pictures=np.stack(pictures),
        sinks=view.sinks,
        notes=list_notes(context),
    )


def _all_heads(context: ViewContext, layer: int, sinks: torch.Tensor) -> HeadRows:
    heads = tuple(range(context.model.dimensions.n_heads))
    return HeadRows(context, layer, heads, False, AttentionDivision.WEIGHTS, sinks)
