"""A grid of which some columns are not decoded yet, laid out over all columns of its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from intravisto_core.records import DecodedGrid, Token, Watched

_FILL = {"f": np.nan, "i": -1, "U": ""}


def lay_out_columns(grid: DecodedGrid, columns: Sequence[Token]) -> DecodedGrid:
    """The grid over the positions of all `columns`; where it has none the cells hold no token and no number."""
    wanted = np.array([token.position for token in columns])
    to = np.flatnonzero(np.isin(wanted, grid.positions))
    place = {int(p): i for i, p in enumerate(grid.positions)}
    source = np.array([place[int(p)] for p in wanted[to]], dtype=np.int64)

    def spread(values: np.ndarray, axis: int, fill: Any) -> np.ndarray:
        shape = (*values.shape[:axis], len(wanted), *values.shape[axis + 1 :])
        out = np.full(shape, fill, dtype=values.dtype)
        out[(slice(None),) * axis + (to,)] = np.take(values, source, axis)
        return out

    def spread_all(record: DecodedGrid | Watched) -> dict[str, Any]:
        found = {f.name: getattr(record, f.name) for f in fields(record)}
        cells = {n: v for n, v in found.items() if isinstance(v, np.ndarray) and v.ndim > 1}
        return {n: spread(v, 1, 0 if n == "rank" else _FILL[v.dtype.kind]) for n, v in cells.items()}

    return replace(
        grid,
        positions=wanted,
        tokens=tuple(columns),
        says=spread(grid.says, 0, -1),
        next_ids=None if grid.next_ids is None else spread(grid.next_ids, 0, -1),
        watch=tuple(replace(each, **spread_all(each)) for each in grid.watch),
        **spread_all(grid),
    )


def list_awaited(grid: DecodedGrid, columns: Sequence[Token]) -> list[int]:
    """Which of the columns are not decoded yet, by their place in the picture."""
    there = {int(p) for p in grid.positions}
    return [i for i, token in enumerate(columns) if token.position not in there]
