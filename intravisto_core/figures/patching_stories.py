"""Where the difference of two prompts is kept, told of each column of a grid by position, by the rules in this file."""

from __future__ import annotations

import numpy as np

from intravisto_core.figures.numbers import whole_share
from intravisto_core.figures.patching_words import SOME, STREAM, Piece, name_place
from intravisto_core.records import PatchGrid

# What holds so much of the difference holds it; what holds so little does not.
HOLDS, EMPTY = 0.9, 0.1


def write_stories(grid: PatchGrid) -> list[list[Piece]]:
    """For each column of a grid by position, where the difference is kept; none while cells are missing."""
    shares = grid.recovered
    if grid.heads is not None or grid.cancelled or not np.isfinite(shares).all():
        return [[] for _ in range(shares.shape[1])]
    tell = _tell_stream if grid.what in STREAM else _tell_writes
    return [tell(grid, shares, column) for column in range(shares.shape[1])]


def _tell_stream(grid: PatchGrid, shares: np.ndarray, column: int) -> list[Piece]:
    if grid.skipped[:, column].all():
        return []
    own, last = shares[:, column], shares[:, -1]
    name: Piece = (name_place(grid, column), 1)
    full = np.flatnonzero(own >= HOLDS)
    if column == shares.shape[1] - 1 and int(grid.positions[-1]) == len(grid.clean_tokens) - 1:
        return _tell_last(grid, own)
    if not len(full):
        return [
            ("At no layer does ", 0),
            name,
            (
                f" hold more than {whole_share(float(np.abs(own).max()))}: the difference does not pass "
                "through it alone.",
                0,
            ),
        ]
    end = int(full[-1])
    gone = [i for i in range(end + 1, len(own)) if abs(own[i]) < EMPTY]
    if not gone:
        return [
            ("From layer ", 0),
            (f"{grid.layers[full[0]]}", 0),
            (" on the difference is kept at ", 0),
            name,
            (".", 0),
        ]
    return [
        (f"Up to layer {grid.layers[end]} the difference is kept at ", 0),
        name,
        (f"; from layer {grid.layers[gone[0]]} on it is no longer there, and ", 0),
        (name_place(grid, shares.shape[1] - 1), 1),
        (f" holds {whole_share(float(last[gone[0]]))}. It seems to move in {_name_layers(grid, end, gone[0] - 1)}.", 0),
    ]


def _name_layers(grid: PatchGrid, first: int, last: int) -> str:
    low, high = int(grid.layers[first]), int(grid.layers[max(first, last)])
    return f"layer {low}" if low == high else f"layers {low} to {high}"


def _tell_last(grid: PatchGrid, own: np.ndarray) -> list[Piece]:
    some, full = np.flatnonzero(own >= SOME), np.flatnonzero(own >= HOLDS)
    if not len(some):
        return [("The answer is read here, and yet the difference never stands here by itself.", 0)]
    if some[0] == 0:
        begins = "The answer is read here, and the difference stands here from the first layer on."
    else:
        begins = (
            f"The answer is read here. Before layer {grid.layers[some[0]]} this position knows nothing of the "
            "difference"
        )
        begins += f"; from layer {grid.layers[full[0]]} on it holds nearly all." if len(full) else "."
    return [(begins, 0)]


def _tell_writes(grid: PatchGrid, shares: np.ndarray, column: int) -> list[Piece]:
    if grid.skipped[:, column].all():
        return []
    best = int(np.abs(shares[:, column]).argmax())
    return [
        ("Of what is written at ", 0),
        (name_place(grid, column), 1),
        (f", layer {grid.layers[best]} matters most: {whole_share(float(shares[best, column]))}.", 0),
    ]
