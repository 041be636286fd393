"""A heatmap view from tiles: what is missing is decoded tile by tile, the rest is slices."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from intravisto_core.analysis.lenses import check_lens, default_policy
from intravisto_core.engine.base import Progress
from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.select import indices
from intravisto_core.engine.store import ByteStore
from intravisto_core.engine.tiles import TileKind, decode_tile, says_tile, stream_tile, watch_tile, width
from intravisto_core.engine.vectors import blank_reason, check_reading, row_range
from intravisto_core.errors import RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.records import DecodedGrid, Watched
from intravisto_core.request import HeatmapView
from intravisto_core.sites import Component, Lens, NormPolicy, Reading
from intravisto_core.tracing import TraceData

Arrays = dict[str, np.ndarray]
Turns = Generator[Progress, None, Any]


@dataclass(slots=True)
class _Sheet:
    """Tiles of one view laid side by side, indexed by row with cells and by position."""

    cells: Arrays
    stream: Arrays
    says: np.ndarray
    watched: dict[int, Arrays]


def draw_grid(
    model: LoadedModel, data: TraceData, entry: TraceEntry, store: ByteStore, view: HeatmapView
) -> Generator[Progress, None, DecodedGrid]:
    """The record of a heatmap view; a turn is a tile.

    Raises:
        RequestError: rows, positions, lens or reading do not fit the model or the trace.
    """
    check_reading(view.component, view.reading)
    norm = view.norm or default_policy(view.component, view.lens, view.reading)
    check_lens(view.lens, norm)
    kind = TileKind(view.component, view.lens, norm, Reading.TOP if view.reading is Reading.TOP else view.reading)
    n_layers = model.dimensions.n_layers
    rows = indices(view.rows, n_layers + 2, "rows")
    positions = indices(view.positions, entry.length, "positions")
    watch = _watch(model, view.watch)
    reasons = tuple(blank_reason(view.component, view.reading, r, model) for r in rows)
    sheet = yield from _sheet(model, data, entry, store, kind, positions, tuple(w[1] for w in watch), all(reasons))
    return _record(model, entry, view, kind, rows, positions, watch, reasons, sheet)


def _watch(model: LoadedModel, texts: tuple[str, ...]) -> list[tuple[str, int, int]]:
    out = []
    for text in texts:
        ids = model.reader.encode(text, add_special_tokens=False)
        if not ids:
            raise RequestError(f"watch: expected texts of at least one token; got {text!r}")
        out.append((text, ids[0], len(ids)))
    return out


def _sheet(
    model: LoadedModel,
    data: TraceData,
    entry: TraceEntry,
    store: ByteStore,
    kind: TileKind,
    positions: tuple[int, ...],
    tokens: tuple[int, ...],
    empty: bool,
) -> Generator[Progress, None, _Sheet]:
    """Every tile that holds one of the positions, from the store or made now; then only those positions."""
    step = width(model, kind)
    numbers = sorted({p // step for p in positions})
    found: list[tuple[Arrays, Arrays, np.ndarray, dict[int, Arrays]]] = []
    columns: list[int] = []
    for done, number in enumerate(numbers):
        span = slice(number * step, min((number + 1) * step, entry.length))
        columns.extend(range(span.start, span.stop))

        def kept(key: Hashable, make: Callable[[], Any], number: int = number) -> Any:
            return _kept(store, ("tile", entry.fingerprint, entry.length, number, step, key), make)

        cells = {} if empty else kept(kind, lambda span=span: decode_tile(model, data, kind, span))
        says = cells["says"] if "says" in cells else kept("says", lambda span=span: says_tile(model, data, span))
        beside = kept("stream", lambda span=span: stream_tile(model, data, span))
        missing = tuple(t for t in tokens if _key(store, entry, number, step, kind, t) not in store)
        if missing and not empty:
            for token, found_token in watch_tile(model, data, kind, span, missing).items():
                key = _key(store, entry, number, step, kind, token)
                store.put(key, found_token, sum(a.nbytes for a in found_token.values()))
        watched = {t: store.get(_key(store, entry, number, step, kind, t)) for t in tokens} if not empty else {}
        found.append((cells, beside, says, watched))
        yield Progress(done + 1, len(numbers), "decoding")
    at = {p: i for i, p in enumerate(columns)}
    pick = np.array([at[p] for p in positions])
    return _Sheet(
        cells=_join([f[0] for f in found], pick),
        stream=_join([f[1] for f in found], pick),
        says=np.concatenate([f[2] for f in found])[pick],
        watched={t: _join([f[3][t] for f in found], pick) for t in tokens} if not empty else {},
    )


def _key(store: ByteStore, entry: TraceEntry, number: int, step: int, kind: TileKind, token: int) -> Hashable:
    return ("watch", entry.fingerprint, entry.length, number, step, kind, token)


def _kept(store: ByteStore, key: Hashable, make: Callable[[], Any]) -> Any:
    value = store.get(key)
    if value is None:
        value = make()
        arrays = value.values() if isinstance(value, dict) else (value,)
        store.put(key, value, sum(a.nbytes for a in arrays))
    return value


def _join(tiles: list[Arrays], pick: np.ndarray) -> Arrays:
    names = [n for n in tiles[0] if n != "says"]
    return {n: np.concatenate([t[n] for t in tiles], axis=1)[:, pick] for n in names}


def _record(
    model: LoadedModel,
    entry: TraceEntry,
    view: HeatmapView,
    kind: TileKind,
    rows: tuple[int, ...],
    positions: tuple[int, ...],
    watch: list[tuple[str, int, int]],
    reasons: tuple[str, ...],
    sheet: _Sheet,
) -> DecodedGrid:
    available = row_range(kind.component, kind.reading, model.dimensions.n_layers)
    source = np.array([r - available.start if not why else -1 for r, why in zip(rows, reasons, strict=True)])
    shape = (len(rows), len(positions))

    def cell(name: str, fill: float = np.nan, arrays: Arrays | None = None, k: int = 0) -> np.ndarray:
        """A statistic over the asked rows; blank rows, and what this reading lacks, are filled."""
        tail = (k,) if k else ()
        whole = (sheet.cells if arrays is None else arrays).get(name)
        kind_of = np.float32 if whole is None else whole.dtype
        out = np.full((*shape, *tail), fill, dtype=kind_of)
        if whole is not None:
            out[source >= 0] = (whole[..., :k] if k else whole)[source[source >= 0]]
        return out

    iterative, update = view.reading is Reading.ITERATIVE, kind.is_update
    k = 5 if iterative else min(view.top_k, model.dimensions.d_vocab)
    ids = cell("ids" if iterative else "top_ids", -1, k=k).astype(np.int32)
    logits = cell("logits" if iterative else "top_logits", k=k)
    log_sum = cell("log_sum")
    probabilities = np.exp(logits - log_sum[..., None])
    stream_rows = {n: a[list(rows)] for n, a in sheet.stream.items()}
    suppressed = cell("low_ids", -1, k=k).astype(np.int32) if update and not iterative else None
    shown_ids = {int(i) for a in (ids, sheet.says, suppressed) if a is not None for i in np.unique(a)}
    return DecodedGrid(
        trace=entry.id,
        model=model.name,
        n_layers=model.dimensions.n_layers,
        prompt_length=entry.prompt_length,
        component=view.component,
        lens=view.lens,
        norm=kind.norm,
        reading=view.reading,
        rows=np.array(rows),
        positions=np.array(positions),
        tokens=tuple(entry.tokens[p] for p in positions),
        says=sheet.says,
        token_ids=ids,
        probabilities=probabilities,
        logits=logits,
        p_max=probabilities[..., 0],
        entropy=cell("entropy"),
        kl_final=cell("kl_final"),
        kl_below=cell("kl_below"),
        next_log_prob=cell("next_logit") - log_sum,
        blank=reasons,
        shown={i: model.reader.shown(i) for i in sorted(shown_ids)},
        d_vocab=model.dimensions.d_vocab,
        suppressed_ids=suppressed,
        suppressed_logits=cell("low_logits", k=k) if suppressed is not None else None,
        coefficients=cell("coefficients", k=k) if iterative else None,
        winner=_winner(cell("winner", fill=0), source) if "winner" in sheet.cells else None,
        watch=tuple(
            _watched(model, text, token, n, cell, sheet.watched.get(token, {})) for text, token, n in watch
        ),
        notes=_notes(model, entry, view, kind),
        **stream_rows,
    )


def _winner(output_won: np.ndarray, source: np.ndarray) -> np.ndarray:
    out = np.where(output_won.astype(bool), "output", "input")
    out[source < 0] = ""
    return out


def _watched(
    model: LoadedModel, text: str, token: int, n: int, cell: Callable[..., np.ndarray], arrays: Arrays
) -> Watched:
    logit = cell("logit", arrays=arrays)
    return Watched(
        text=text,
        token_id=token,
        n_tokens=n,
        shown=model.reader.shown(token),
        probability=np.exp(logit - cell("log_sum", arrays=arrays)),
        logit=logit,
        rank=cell("rank", 0, arrays).astype(np.int32),
    )


def _notes(model: LoadedModel, entry: TraceEntry, view: HeatmapView, kind: TileKind) -> tuple[str, ...]:
    notes = list(entry.notes)
    if kind.norm is NormPolicy.FINAL and view.component in (Component.ATTENTION, Component.MLP):
        notes.append("scale removed: the norm blows every update up to the size of the whole stream")
    if model.weights.tied and view.lens is not Lens.OUTPUT:
        notes.append("this model has one table for input and output: all lenses show the same, but for a bias")
    if view.lens in (Lens.INPUT, Lens.LINEAR, Lens.QUADRATIC, Lens.MAX) and not kind.is_update:
        last = model.dimensions.n_layers - 1
        notes.append(f"under this lens the top rows need not equal the model's prediction (layer {last} mixes tables)")
    if view.lens is Lens.MAX:
        notes.append("favours the table with longer rows; cells of different tables are not compared by colour")
    notes += [f"“{t}” has {n} tokens: the first is followed" for t, _, n in _watch(model, view.watch) if n > 1]
    return tuple(notes)
