"""Tiles of one view laid side by side."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from intravisto_core.progress import Progress
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.tiles import (
    TileKind,
    count_positions,
    decode_says,
    decode_tile,
    decode_watched,
    measure_stream,
)

SPARSE = 4


@dataclass(frozen=True, slots=True)
class TileRows:
    """Arrays over (rows with cells, asked positions); stream over all rows 0 … L+1; says over positions.

    watched: rank, logit and log-sum-exp of followed tokens, by token id.
    """

    cells: Arrays
    stream: Arrays
    says: np.ndarray
    watched: dict[int, Arrays]


def gather_tiles(
    context: ViewContext, kind: TileKind, positions: tuple[int, ...], tokens: tuple[int, ...], empty: bool
) -> Generator[Progress, None, TileRows]:
    """Every tile that holds one of the positions, kept or made now; a turn is a tile. empty: no row has cells."""
    step = count_positions(context.model, kind)
    spans = _spans(context, kind, positions, step, empty)
    parts: list[TileRows] = []
    for span in spans:
        parts.append(_tile(context, kind, span, empty))
        yield Progress(len(parts), len(spans), "decoding")
    columns = [p for span in spans for p in span]
    at = {p: i for i, p in enumerate(columns)}
    pick = np.array([at[p] for p in positions])
    watched = {} if empty or not tokens else (yield from _watched(context, kind, positions, tokens, step))
    return TileRows(
        cells=_join([p.cells for p in parts], pick),
        stream=_join([p.stream for p in parts], pick),
        says=np.concatenate([p.says for p in parts])[pick],
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


def _tile(context: ViewContext, kind: TileKind, span: list[int], empty: bool) -> TileRows:
    model, data, place = context.model, context.data, tuple(span)
    context = context.at(span[-1] + 1)

    def cells() -> Arrays:
        return decode_tile(model, data, kind, span)

    def says() -> np.ndarray:
        return decode_says(model, data, span)

    def stream() -> Arrays:
        return measure_stream(model, data, span)

    found = {} if empty else context.get_or_make((kind, place), cells)
    return TileRows(
        cells={name: a for name, a in found.items() if name != "says"},
        stream=context.get_or_make(("stream", place), stream),
        says=found["says"] if "says" in found else context.get_or_make(("says", place), says),
        watched={},
    )


def _watched(
    context: ViewContext, kind: TileKind, positions: tuple[int, ...], tokens: tuple[int, ...], step: int
) -> Generator[Progress, None, dict[int, Arrays]]:
    """Followed tokens at just the asked positions: a click asks for one column, a colour for all."""
    found: dict[tuple[int, int], Arrays] = {}
    for start in range(0, len(positions), step):
        missing = []
        for p in positions[start : start + step]:
            kept = {(t, p): context.at(p + 1).find((kind, t, p)) for t in tokens}
            found |= {place: arrays for place, arrays in kept.items() if arrays is not None}
            if None in kept.values():
                missing.append(p)
        if missing:
            for token, arrays in decode_watched(context.model, context.data, kind, missing, tokens).items():
                for column, p in enumerate(missing):
                    one = {n: a[:, column : column + 1].copy() for n, a in arrays.items()}
                    found[token, p] = context.at(p + 1).keep((kind, token, p), one)
        yield Progress(min(start + step, len(positions)), len(positions), "following tokens")
    return {t: _columns([found[t, p] for p in positions]) for t in tokens}


def _columns(columns: list[Arrays]) -> Arrays:
    return {n: np.concatenate([c[n] for c in columns], axis=1) for n in columns[0]}


def _join(tiles: list[Arrays], pick: np.ndarray) -> Arrays:
    return {n: np.concatenate([t[n] for t in tiles], axis=1)[:, pick] for n in tiles[0]}
