"""The attention sinks of a trace: one definition for all views (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from intravisto_core.analysis.sinks import SMALL, Looks, find_sinks, measure_value_sizes
from intravisto_core.progress import Progress
from intravisto_core.records import Sinks
from intravisto_core.request import SinksView
from intravisto_core.sites import Capability, Site
from intravisto_core.views.context import Arrays, ViewContext

PATTERN_ELEMENTS = 1 << 21  # of patterns at a time
NO_HEADS = "What a key brings cannot be told for this model, so that only position 0 can be found to be a sink"

Array = np.ndarray


def read_sinks(context: ViewContext) -> Generator[Progress, None, list[Array]]:
    """The sinks of each layer, positions in order; a turn is some queries of a layer that was not kept."""
    table = yield from compute_sink_table(context)
    return [np.flatnonzero(row) for row in table["is_sink"]]


def compute_sink_table(context: ViewContext) -> Generator[Progress, None, Arrays]:
    """The arrays of `Sinks`, computed once a trace."""
    kept: Arrays | None = context.find("sinks")
    if kept is not None:
        return kept
    context.card.require(Capability.PATTERN)
    size, layers = context.model.dimensions, []
    for layer in range(size.n_layers):
        looks = yield from _look(context, layer)
        layers.append(decide_layer(context, layer, looks))
    return keep_layers(context, layers)


def keep_layers(context: ViewContext, layers: list[Arrays]) -> Arrays:
    """Keep what was found in all layers."""
    return context.keep("sinks", {name: np.stack([a[name] for a in layers]) for name in layers[0]})


def _look(context: ViewContext, layer: int) -> Generator[Progress, None, Looks]:
    dimensions, data, length = context.model.dimensions, context.data, context.entry.length
    looks = Looks.nothing(dimensions.n_heads, length)
    step = max(1, PATTERN_ELEMENTS // (dimensions.n_heads * length))
    for start in range(0, length, step):
        queries = torch.arange(start, min(start + step, length))
        seen = data.find_seen(layer, queries)
        pattern = data.pattern(layer, queries=queries, keys=seen)
        looks.add(queries, pattern, data.first[layer][queries], data.last[layer][queries], seen.start)
        yield Progress(layer + 1, dimensions.n_layers, "attention sinks")
    return looks


def list_possible(context: ViewContext, layer: int) -> Array:
    """The positions that may be sinks of a layer, by what they bring alone."""
    size = relative_sizes(context, layer)
    small = np.zeros(context.entry.length, bool) if size is None else size < SMALL
    small[0] = True
    return np.flatnonzero(small)


def decide_layer(context: ViewContext, layer: int, looks: Looks) -> Arrays:
    """The sinks of a layer whose queries were all looked at."""
    length, size = context.entry.length, relative_sizes(context, layer)
    found = find_sinks(looks, size)
    others = length - 1 if length > 1 else np.nan
    return {
        "is_sink": found.is_sink,
        "weight": found.weight,
        "least": found.least,
        "size": np.full(length, np.nan) if size is None else size,
        "n_queries": looks.n_queries.numpy().astype(np.int64),
        "taken": np.nan_to_num(looks.received.numpy() / others)[found.is_sink].sum(),
        "first": looks.first.numpy() / others,
        "learned": looks.learned.numpy() / others,
    }


def relative_sizes(context: ViewContext, layer: int) -> Array | None:
    """What each key brings, over the median key's; None where the model's heads do not add up."""
    if not context.card.holds(Capability.HEADS):
        return None

    def measure() -> Array:
        return measure_value_sizes(context.model, layer, context.data.site(Site.V, layer))

    sizes = context.get_or_make(("value sizes", layer), measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = sizes / np.median(sizes)
    return found


def compute_sinks(context: ViewContext, view: SinksView) -> Generator[Progress, None, Sinks]:
    """Which positions of which layers are sinks, and what decided."""
    table = yield from compute_sink_table(context)
    yield Progress(1, 1)
    told = context.card.holds(Capability.HEADS)
    notes = (*context.entry.notes, *(() if told else (NO_HEADS,)))
    return Sinks(context.entry.id, context.model.name, context.entry.tokens, notes=notes, **table)
