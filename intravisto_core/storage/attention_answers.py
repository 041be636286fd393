"""Slices, means and sparse rows of attention out of what a saved run holds: the whole cube, or every head's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from intravisto_core.errors import RequestError
from intravisto_core.records import Attention, Record, Sinks, SparseAttention
from intravisto_core.records.attention import MEAN_HEAD, MEAN_LAYER
from intravisto_core.request import AttentionView, SinksView, SparseAttentionView, View
from intravisto_core.request.attention import MEAN
from intravisto_core.request.ranges import index, indices
from intravisto_core.sites import AttentionDivision, SinkHandling

SMALLEST = 1e-6
LEAST_LEFT = 0.1
LARGEST_BYTES = 64_000_000
CUT = "Saved without weights below {:.3g} of a row: they count as 0 here"

Array = np.ndarray
Find = Callable[[View[Any]], Record | None]


def answer_attention(asked: View[Any], stored: Sequence[Record], find: Find, n_layers: int) -> Record | None:
    """The record of a view of attention from others, or None. stored: all records of the run. find: one by its view.

    Raises:
        RequestError: there is no such layer, head or position.
    """
    if isinstance(asked, AttentionView) and asked.strength is AttentionDivision.WEIGHTS:
        cube = _find_cube(stored)
        return _slice(cube or _rebuild(asked, stored), asked, find, n_layers)
    if isinstance(asked, SparseAttentionView) and asked.strength is AttentionDivision.WEIGHTS:
        cube = _find_cube(stored)
        return _from_rows(asked, stored, find) if cube is None else _make_sparse(cube, asked, find, n_layers)
    return None


def _find_cube(stored: Sequence[Record]) -> Attention | None:
    return next((r for r in stored if isinstance(r, Attention) and _is_whole(r)), None)


def _is_whole(record: Attention) -> bool:
    plain = record.strength is AttentionDivision.WEIGHTS and record.sinks is SinkHandling.SHOW
    length = len(record.tokens)
    layers, heads = (max(each) + 1 for each in zip(*record.heads, strict=True))
    whole = len(record.heads) == layers * heads and record.weights.shape[1:] == (length, length)
    return plain and whole and MEAN_HEAD not in {h for _, h in record.heads}


def _sinks_of(find: Find, trace: str, layer: int, shown: Any, length: int) -> Array | None:
    """Positions of a layer's sinks that are hidden; None where the file does not hold them."""
    sinks = find(SinksView(trace))
    if not isinstance(sinks, Sinks):
        return None
    flags = sinks.is_sink[layer].copy()
    if shown is None:
        flags[:] = False
    elif shown != ():
        flags[list(indices(shown, length, "shown_sinks"))] = False
    found: Array = np.flatnonzero(flags)
    return found


def _hide(weights: Array, learned: Array, at: Array, renormalise: bool) -> tuple[Array, Array, Array]:
    """Rows (…, T) without some keys: weights, what was hidden, what learned sinks took."""
    hidden = weights[..., at].sum(-1)
    weights = weights.copy()
    weights[..., at] = 0
    if renormalise:
        weights, learned = _renormalise(weights, learned, hidden)
    return weights, hidden.astype(np.float32), learned


def _renormalise(weights: Array, learned: Array, hidden: Array) -> tuple[Array, Array]:
    left = np.where(1 - hidden > SMALLEST, 1 - hidden, np.inf)
    return (weights / left[..., None]).astype(np.float32), (learned / left).astype(np.float32)


def _slice(cube: Attention | None, asked: AttentionView, find: Find, n_layers: int) -> Attention | None:
    """Heads, queries and keys of a cube, or means of its heads."""
    if cube is None:
        return None
    length, n_heads = len(cube.tokens), len(cube.heads) // n_layers
    layers = range(n_layers) if asked.layer is None else (index(asked.layer, n_layers, "layer"),)
    queries, keys = indices(asked.queries, length, "queries"), list(indices(asked.keys, length, "keys"))
    places = {position: place for place, position in enumerate(cube.queries.tolist())}
    at_queries = [places[query] for query in queries]
    parts: list[tuple[Array, Array, Array]] = []
    names: list[tuple[int, int]] = []
    for layer in layers:
        rows = [cube.heads.index((layer, head)) for head in _heads_of(asked.head, n_heads)]
        weights, learned = cube.weights[rows][:, at_queries], cube.learned[rows][:, at_queries]
        names += [(layer, MEAN_HEAD)] if asked.head == MEAN else [cube.heads[i] for i in rows]
        if asked.head == MEAN:
            weights, learned = weights.mean(0, keepdims=True), learned.mean(0, keepdims=True)
        at = np.array([], int)
        if asked.sinks is not SinkHandling.SHOW:
            found = _sinks_of(find, asked.trace, layer, asked.shown_sinks, length)
            if found is None:
                return None
            at = found
        parts.append(_hide(weights, learned, at, asked.sinks is SinkHandling.RENORMALISE))
    weights, hidden, learned = (np.concatenate(each) for each in zip(*parts, strict=True))
    return replace(
        cube,
        heads=tuple(names),
        queries=np.array(queries, np.int32),
        keys=np.array(keys, np.int32),
        weights=np.ascontiguousarray(weights[..., keys]),
        hidden=hidden,
        learned=learned,
        sinks=asked.sinks,
    )


def _heads_of(head: Any, n_heads: int) -> tuple[int, ...]:
    if head is None or head == MEAN:
        return tuple(range(n_heads))
    chosen = head if isinstance(head, tuple) else (head,)
    return tuple(dict.fromkeys(index(h, n_heads, "head") for h in chosen))


def _make_sparse(cube: Attention, asked: SparseAttentionView, find: Find, n_layers: int) -> SparseAttention | None:
    """Rows of one head or a mean of the cube, by their larger keys."""
    n_heads = len(cube.heads) // n_layers
    whole = asked.layer == MEAN
    layers = range(n_layers) if whole else (index(int(asked.layer), n_layers, "layer"),)
    heads = _heads_of(asked.head, n_heads)
    shown = asked.sinks is SinkHandling.SHOW
    parts = []
    for layer in layers:
        view = AttentionView(asked.trace, layer, heads, shown_sinks=asked.shown_sinks)
        aside = _slice(cube, replace(view, sinks=SinkHandling.HIDE), find, n_layers)
        found = _slice(cube, view, find, n_layers) if shown else aside
        if found is None or (aside is None and asked.mark_sinks):
            return None
        on_sinks = found.hidden if aside is None else aside.hidden
        parts.append([each.mean(0) for each in (found.weights, found.hidden, found.learned, on_sinks)])
    weights, hidden, learned, on_sinks = (np.mean(each, 0).astype(np.float32) for each in zip(*parts, strict=True))
    left = np.maximum(1 - (on_sinks if asked.mark_sinks else hidden), LEAST_LEFT)
    if asked.sinks is SinkHandling.RENORMALISE:
        weights, learned = _renormalise(weights, learned, hidden)
        left = np.ones_like(hidden)
    kept = (weights >= asked.least * left[:, None]) & (weights != 0)
    return SparseAttention(
        trace=cube.trace,
        model=cube.model,
        tokens=cube.tokens,
        layer=MEAN_LAYER if whole else layers[0],
        heads=heads,
        least=asked.least,
        starts=np.concatenate([[0], np.cumsum(kept.sum(1))]).astype(np.int32),
        keys=np.nonzero(kept)[1].astype(np.int32),
        weights=weights[kept],
        rest=np.where(kept, 0, weights).sum(1).astype(np.float32),
        hidden=hidden,
        learned=learned,
        sinks=asked.sinks,
        on_sinks=on_sinks if asked.mark_sinks else None,
        sink_keys=_find_sink_keys(asked, find, layers[0], len(cube.tokens)) if shown and not whole else None,
        notes=cube.notes,
    )


def _find_sink_keys(asked: SparseAttentionView, find: Find, layer: int, length: int) -> Array | None:
    """The sinks that a record marks; None where that was not asked for."""
    at = _sinks_of(find, asked.trace, layer, asked.shown_sinks, length) if asked.mark_sinks else None
    return None if at is None else at.astype(np.int32)


def _rows_of(
    stored: Sequence[Record], layer: int, heads: tuple[int, ...], sinks: SinkHandling
) -> SparseAttention | None:
    """The stored rows of a head, or of a mean."""
    wanted = (layer, heads, sinks, AttentionDivision.WEIGHTS)
    for r in stored:
        if isinstance(r, SparseAttention) and (r.layer, r.heads, r.sinks, r.strength) == wanted:
            return r
    return None


def _n_heads(stored: Sequence[Record]) -> int:
    return max((len(r.heads) for r in stored if isinstance(r, SparseAttention)), default=0)


def _from_rows(asked: SparseAttentionView, stored: Sequence[Record], find: Find) -> SparseAttention | None:
    """Stored rows, by the least that is asked for or what the file has, which the record says; sinks hidden from them.

    Of rows that were stored without marks, what sinks take below the least stays in `rest`.
    """
    n_heads = _n_heads(stored)
    if not n_heads:
        return None
    layer = MEAN_LAYER if asked.layer == MEAN else int(asked.layer)
    layers = 1 + max(r.layer for r in stored if isinstance(r, SparseAttention))
    layer = layer if layer == MEAN_LAYER else index(layer, layers, "layer")
    heads = _heads_of(asked.head, n_heads)
    found = _rows_of(stored, layer, heads, asked.sinks) if asked.shown_sinks == () else None
    if found is not None and (found.on_sinks is not None or not asked.mark_sinks):
        return _cut_rows(found, asked)
    found = _rows_of(stored, layer, heads, SinkHandling.SHOW)
    if found is None or layer == MEAN_LAYER:
        return None  # sinks differ from layer to layer, so that a mean cannot be taken apart
    at = _sinks_of(find, asked.trace, layer, asked.shown_sinks, len(found.tokens))
    if at is None:
        return None
    if found.on_sinks is None or asked.shown_sinks != ():
        weights = np.where(np.isin(found.keys, at), found.weights, 0)
        on_sinks = np.bincount(_queries_of(found), weights, len(found.tokens)).astype(np.float32)
        found = replace(found, on_sinks=on_sinks, sink_keys=at.astype(np.int32))
    if asked.sinks is SinkHandling.SHOW:
        return _cut_rows(found, asked)
    found = found.without_sinks()
    if asked.sinks is SinkHandling.RENORMALISE:
        left = np.where(1 - found.hidden > SMALLEST, 1 - found.hidden, np.inf).astype(np.float32)
        weights, rest = found.weights / left[_queries_of(found)], found.rest / left
        found = replace(found, weights=weights, rest=rest, learned=found.learned / left, sinks=asked.sinks)
    return _cut_rows(found, asked)


def _queries_of(found: SparseAttention) -> Array:
    """The query of each entry."""
    return np.repeat(np.arange(len(found.tokens)), np.diff(found.starts))


def _cut_rows(found: SparseAttention, asked: SparseAttentionView) -> SparseAttention:
    """The rows without entries below the least that is asked for; without marks that are not."""
    least, query = max(asked.least, found.least), _queries_of(found)
    gone = found.on_sinks if asked.mark_sinks else found.hidden
    left = np.ones_like(found.rest)
    if gone is not None and asked.sinks is not SinkHandling.RENORMALISE:
        left = np.maximum(1 - gone, LEAST_LEFT)
    kept = found.weights >= least * left[query]
    lost = np.bincount(query[~kept], found.weights[~kept], len(left))
    counts = np.bincount(query[kept], minlength=len(left))
    return replace(
        found,
        least=least,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        keys=found.keys[kept],
        weights=found.weights[kept],
        rest=(found.rest + lost).astype(np.float32),
        on_sinks=found.on_sinks if asked.mark_sinks else None,
        sink_keys=found.sink_keys if asked.mark_sinks else None,
    )


def _rebuild(asked: AttentionView, stored: Sequence[Record]) -> Attention | None:
    """The asked queries of all heads out of their rows; the notes say what is lost."""
    n_heads = _n_heads(stored)
    rows = [
        r
        for r in stored
        if isinstance(r, SparseAttention) and len(r.heads) == 1 and r.layer != MEAN_LAYER and _is_plain(r)
    ]
    layers = 1 + max((r.layer for r in rows), default=-1)
    if not rows or len(rows) < layers * n_heads:
        return None
    first = rows[0]
    length = len(first.tokens)
    queries = np.array(indices(asked.queries, length, "queries"), np.int32)
    shape = (layers * n_heads, len(queries), length)
    if 4 * np.prod(shape) > LARGEST_BYTES:
        raise RequestError("queries: expected fewer of a saved run, 64 MB at most. Or ask for sparse_attention()")
    weights, learned = np.zeros(shape, np.float32), np.zeros(shape[:2], np.float32)
    for r in rows:
        place = r.layer * n_heads + r.heads[0]
        for i, query in enumerate(queries.tolist()):
            keys, own = r.row(query)
            weights[place, i, keys] = own
        learned[place] = r.learned[queries]
    return Attention(
        trace=first.trace,
        model=first.model,
        tokens=first.tokens,
        heads=tuple((layer, head) for layer in range(layers) for head in range(n_heads)),
        queries=queries,
        keys=np.arange(length, dtype=np.int32),
        weights=weights,
        hidden=np.zeros_like(learned),
        learned=learned,
        notes=(*first.notes, CUT.format(first.least)),
    )


def _is_plain(r: SparseAttention) -> bool:
    return r.sinks is SinkHandling.SHOW and r.strength is AttentionDivision.WEIGHTS
