"""Tiles of one view laid side by side."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from intravisto_core.progress import Progress
from intravisto_core.sites import TokenOrder
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.tiles import (
    Given,
    TileKind,
    count_logits,
    count_positions,
    decode_followed,
    decode_says,
    decode_tile,
    decode_watched,
    measure_stream,
)

SPARSE = 4


@dataclass(frozen=True, slots=True)
class TileRows:
    """Arrays over (rows with cells, positions); stream over all rows 0 … L+1; says over positions.

    positions: those that were asked for, or of these the ones that were decoded in time. watched: rank, logit and
    log-sum-exp of followed tokens, by token id.
    """

    positions: tuple[int, ...]
    cells: Arrays
    stream: Arrays
    says: np.ndarray
    watched: dict[int, Arrays]


@dataclass(frozen=True, slots=True)
class Order:
    """Which positions are decoded first, the others by their distance from these, and for how many seconds at most."""

    first: tuple[int, ...] = ()
    within: float | None = None

    def sort(self, spans: list[list[int]]) -> list[list[int]]:
        """Spans in the order in which they are decoded."""
        if not self.first:
            return spans
        low, high = min(self.first), max(self.first)
        middle = (low + high) // 2

        def distance(span: list[int]) -> tuple[int, int]:
            return max(0, low - span[-1], span[0] - high), max(0, middle - span[-1], span[0] - middle)

        return sorted(spans, key=distance)


@dataclass(frozen=True, slots=True)
class Following:
    """Tokens that are followed through the cells. ranks: whether their places among all are counted."""

    tokens: tuple[int, ...] = ()
    ranks: bool = True


def gather_tiles(
    context: ViewContext,
    kind: TileKind,
    positions: tuple[int, ...],
    following: Following,
    empty: bool,
    order: Order = Order(),
) -> Generator[Progress, None, TileRows]:
    """Every tile that holds one of the positions, kept or made now; a turn is a tile. empty: no row has cells."""
    step = count_positions(context.model, kind)
    asked = set(positions)
    spans = order.sort(_spans(context, kind, positions, step, empty))
    counted = following.tokens if not empty and (following.ranks or kind.lens.compares_tables) else ()
    began, late = time.monotonic(), False
    parts: list[TileRows] = []
    for span in spans:
        mine = tuple(p for p in span if p in asked)
        kept = _is_kept(context, kind, span, mine, counted, empty)
        if late and not kept:
            continue
        parts.append(_tile(context, kind, span, mine, counted, empty))
        if not kept:
            late = order.within is not None and time.monotonic() - began >= order.within
            yield Progress(len(parts), len(spans), "decoding")
    return _lay_together(context, kind, positions, parts, following, counted, empty)


def _lay_together(
    context: ViewContext,
    kind: TileKind,
    positions: tuple[int, ...],
    parts: list[TileRows],
    following: Following,
    counted: tuple[int, ...],
    empty: bool,
) -> TileRows:
    """One array of each kind from those of the tiles, with the positions in the order asked for."""
    at = {p: i for i, p in enumerate(p for part in parts for p in part.positions)}
    there = tuple(p for p in positions if p in at)
    pick = np.array([at[p] for p in there])
    cells = {n: a[:, pick] for n, a in _join([part.cells for part in parts]).items()}
    if following.tokens and not counted and not empty:
        watched = _followed(context, kind, there, following.tokens, cells)
    else:
        joined = {t: _join([part.watched[t] for part in parts]) for t in counted}
        watched = {t: {n: a[:, pick] for n, a in arrays.items()} for t, arrays in joined.items()}
    return TileRows(
        positions=there,
        cells=cells,
        stream={n: a[:, pick] for n, a in _join([part.stream for part in parts]).items()},
        says=np.concatenate([part.says for part in parts])[pick],
        watched=watched,
    )


def _spans(context: ViewContext, kind: TileKind, positions: tuple[int, ...], step: int, empty: bool) -> list[list[int]]:
    """The tiles' positions: stretches of the text, which other views share, where one is kept or enough of it is asked
    for; what is asked of the others lies so far apart that it is decoded alone.
    """
    by_number: dict[int, list[int]] = {}
    for p in sorted(set(positions)):
        by_number.setdefault(p // step, []).append(p)
    spans, alone = [], []
    for number, asked in by_number.items():
        stretch = list(range(number * step, min((number + 1) * step, context.entry.length)))
        key = "stream" if empty else kind
        if SPARSE * len(asked) >= len(stretch) or context.at(stretch[-1] + 1).find((key, tuple(stretch))) is not None:
            spans.append(stretch)
        else:
            alone += asked
    return spans + [alone[i : i + step] for i in range(0, len(alone), step)]


def _is_kept(
    context: ViewContext, kind: TileKind, span: list[int], mine: tuple[int, ...], counted: tuple[int, ...], empty: bool
) -> bool:
    """Whether nothing of a tile must be decoded now."""
    key = ("stream" if empty else kind, tuple(span))
    if context.at(span[-1] + 1).find(key) is None:
        return False
    return all(context.at(p + 1).find((kind, t, p)) is not None for t in counted for p in mine)


def _tile(
    context: ViewContext, kind: TileKind, span: list[int], mine: tuple[int, ...], counted: tuple[int, ...], empty: bool
) -> TileRows:
    """One tile; tokens are counted at its positions `mine` alone."""
    model, data, place = context.model, context.data, tuple(span)
    here = context.at(span[-1] + 1)

    def cells() -> Arrays:
        room = context.take_room(count_logits(model, kind, len(span)))
        lengths = context.token_lengths() if kind.order is TokenOrder.ANGLE and kind.is_update else None
        return decode_tile(model, data, kind, span, Given(room, lengths))

    def says() -> np.ndarray:
        return decode_says(model, data, span)

    def stream() -> Arrays:
        return measure_stream(model, data, span)

    found = {} if empty else here.get_or_make((kind, place), cells)
    pick = np.array([span.index(p) for p in mine])
    said = found["says"] if "says" in found else here.get_or_make(("says", place), says)
    return TileRows(
        positions=mine,
        cells={name: a[:, pick] for name, a in found.items() if name != "says"},
        stream={name: a[:, pick] for name, a in here.get_or_make(("stream", place), stream).items()},
        says=said[pick],
        watched=_counted(context, kind, mine, counted),
    )


def _counted(
    context: ViewContext, kind: TileKind, positions: tuple[int, ...], tokens: tuple[int, ...]
) -> dict[int, Arrays]:
    """Followed tokens with their ranks at just the asked positions: a click asks for one column, a colour for all."""
    found: dict[tuple[int, int], Arrays] = {}
    missing = []
    for p in positions:
        kept = {(t, p): context.at(p + 1).find((kind, t, p)) for t in tokens}
        found |= {place: arrays for place, arrays in kept.items() if arrays is not None}
        if None in kept.values():
            missing.append(p)
    if missing:
        for token, arrays in decode_watched(context.model, context.data, kind, missing, tokens).items():
            for column, p in enumerate(missing):
                one = {n: a[:, column : column + 1].copy() for n, a in arrays.items()}
                found[token, p] = context.at(p + 1).keep((kind, token, p), one)
    return {t: _join([found[t, p] for p in positions]) for t in tokens}


def _followed(
    context: ViewContext, kind: TileKind, positions: tuple[int, ...], tokens: tuple[int, ...], cells: Arrays
) -> dict[int, Arrays]:
    """Followed tokens without their ranks: their logits beside the log-sums of the cells that are decoded."""
    logits = decode_followed(context.model, context.data, kind, list(positions), tokens)
    found = {}
    for token, logit in logits.items():
        log_sum = cells["log_sum"] if "log_sum" in cells else np.full_like(logit, np.nan)
        found[token] = {"rank": np.zeros(logit.shape, np.int32), "logit": logit, "log_sum": log_sum[: len(logit)]}
    return found


def _join(tiles: list[Arrays]) -> Arrays:
    """Arrays of tiles side by side."""
    return {n: np.concatenate([t[n] for t in tiles], axis=1) for n in tiles[0]}
