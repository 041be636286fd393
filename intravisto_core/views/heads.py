"""What every head does on a text: what it looks at, by kinds of keys, and as a small picture."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from intravisto_core.analysis.head_targets import TargetSums, code_shares, pool_keys, split_evenly, tabulate_keys
from intravisto_core.analysis.sinks import Looks
from intravisto_core.progress import Progress
from intravisto_core.records import HeadPatterns, HeadTargets
from intravisto_core.request import HeadPatternsView, HeadTargetsView
from intravisto_core.sites import AttentionDivision, Capability, HeadTarget, SinkHandling
from intravisto_core.views.attention import HeadRows, list_notes, read_hidden
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.sinks import decide_layer, keep_layers, list_possible

LAYERS = 8  # that share the table of what each key is to each query


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
    n_layers, found = context.model.dimensions.n_layers, []
    known = context.find("sinks")
    for first in range(0, n_layers, LAYERS):
        layers = [_Layer.begin(context, layer, known) for layer in range(first, min(first + LAYERS, n_layers))]
        yield from _look(context, layers)
        found += layers
        for each in layers:
            each.decide(context)
    if known is None:
        keep_layers(context, [each.sinks for each in found if each.sinks is not None])
    return [each.sums for each in found]


@dataclass(slots=True)
class _Layer:
    """What is summed of one layer. looks, sinks: where its sinks are not known yet, and what was found."""

    number: int
    rows: HeadRows
    sums: TargetSums
    looks: Looks | None
    has_learned: bool
    sinks: Arrays | None = None

    @classmethod
    def begin(cls, context: ViewContext, layer: int, known: Arrays | None) -> _Layer:
        """Before any query was looked at. known: the sinks of all layers."""
        n_heads, length, facts = context.model.dimensions.n_heads, context.entry.length, context.data.facts[layer]
        keys = list_possible(context, layer) if known is None else np.flatnonzero(known["is_sink"][layer])
        return cls(
            layer,
            _all_heads(context, layer, torch.zeros(length, dtype=torch.bool)),
            TargetSums.nothing(n_heads, torch.from_numpy(keys)),
            Looks.nothing(n_heads, length) if known is None else None,
            facts is not None and facts.sinks is not None,
        )

    def add(self, context: ViewContext, some: list[int], table: torch.Tensor) -> None:
        """Take queries in, with the table of what each key is to them."""
        found, at, data = self.rows.compute(some), torch.tensor(some), context.data
        self.sums.add(at.to(table.device), found.weights, found.start, table, self.has_learned)
        if self.looks is not None:
            self.looks.add(at, found.weights, data.first[self.number][at], data.last[self.number][at], found.start)

    def decide(self, context: ViewContext) -> None:
        """After all queries: which keys are sinks; only these are remembered one by one."""
        if self.looks is None:
            return
        self.sinks = decide_layer(context, self.number, self.looks)
        self.sums.forget_others(torch.from_numpy(np.flatnonzero(self.sinks["is_sink"])))


def _look(context: ViewContext, layers: Sequence[_Layer]) -> Generator[Progress, None, None]:
    """All queries of some layers: what a key is to a query is the same in all of them."""
    n_layers, length = context.model.dimensions.n_layers, context.entry.length
    ids, before = torch.tensor(context.data.ids, device=context.data.final.device), layers[0].number * length
    for some in layers[0].rows.steps(range(length)):
        at = torch.tensor(some, device=ids.device)
        stop = max(context.data.find_seen(each.number, at).stop for each in layers)
        table = tabulate_keys(at, ids[: max(stop, some[-1] + 1)])
        for each in layers:
            each.add(context, some, table)
            yield Progress(before + len(layers) * (some[-1] + 1), n_layers * length, "what heads look at")


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
