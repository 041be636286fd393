"""What the picture of patching grids in the browser is given: every cell, and every sentence as it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intravisto_core.figures import patching_words as words
from intravisto_core.figures.numbers import whole_share
from intravisto_core.figures.patching_stories import write_stories
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import round_numbers
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import PatchGrid
from intravisto_core.sites import Patching, Site

QUESTION = "Where is the difference between two prompts kept?"
# In cells a share stands from so much on.
TOLD = 0.03
NOT_RUN, SKIPPED, VALUE = ".", "=", "v"
COLOURS = {Site.ATTN_OUT: "attention", Site.MLP_OUT: "mlp"}


def patching_data(
    grids: Sequence[PatchGrid],
    links: bool = False,
    rev: str = "",
    chosen: Mapping[str, Any] | None = None,
    progress: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of patching.js: grids of the same two prompts side by side.

    links: whether its buttons lead elsewhere, which a page by itself does not have. rev: goes back with every act.
    chosen: the cell that is told of at first; None takes the one that matters most. progress: of what still runs.
    """
    first = grids[0]
    shares = all(map(words.has_shares, grids))
    layers = sorted({int(layer) for grid in grids for layer in grid.layers})
    sign = 1 if first.direction is Patching.DENOISE else -1
    whole = abs(first.clean - first.corrupt)
    floor = max(grid.noise_floor for grid in grids)
    blocks = [_block(grid, layers, shares, links) for grid in grids]
    return {
        "rev": rev,
        "links": links,
        "model": printable(first.model),
        "title": QUESTION,
        "fileName": "patching",
        "about": words.write_about(first),
        "layers": layers,
        "blocks": blocks,
        "unit": "share" if shares else "effect",
        "metric": str(first.metric),
        "most": 1.0 if shares else _largest(grids),
        "told": TOLD if shares else 0.05 * _largest(grids),
        "floor": floor / whole if shares else floor,
        "floorText": words.write_floor(max(grids, key=lambda grid: grid.noise_floor)),
        "scaleText": "−100 … 0 … 100 % of the way" if shares else "lower … 0 … higher",
        "base": words.ends_of(first)[1],
        "span": sign * (first.clean - first.corrupt) if shares else 1.0,
        "scatter": " ".join(filter(None, map(words.write_agreement, grids))),
        "carry": [] if progress else [part for grid in grids for part in _carry(grid, layers)],
        "more": [],
        "foot": list_foot(grids),
        "chosen": dict(chosen) if chosen else _find_most(grids, blocks),
        "progress": dict(progress) if progress else None,
    }


def list_foot(grids: Sequence[PatchGrid]) -> list[str]:
    """What else the reader must know, under the grid."""
    lines = ["Stopped before its end: cells with a dot were not run."] if any(g.cancelled for g in grids) else []
    n, several = len(grids[0].cleans), len(grids[0].prompts)
    if n > 1:
        lines.append(f"Mean over {n} {'draws' if grids[0].made else 'pairs of prompts'}.")
    if several and any(grid.heads is None for grid in grids):
        lines.append("The tokens above the columns are those of the first pair.")
    return lines + [as_sentence(printable(note)) for note in dict.fromkeys(note for g in grids for note in g.notes)]


def _largest(grids: Sequence[PatchGrid]) -> float:
    return max((float(np.nanmax(np.abs(g.effect), initial=0.0)) for g in grids), default=0.0) or 1.0


def _block(grid: PatchGrid, layers: list[int], shares: bool, links: bool) -> dict[str, Any]:
    by_head = grid.heads is not None
    known = np.isfinite(grid.effect)
    values = grid.recovered if shares else grid.effect
    rows = {int(layer): i for i, layer in enumerate(grid.layers)}
    blank = [None] * values.shape[1]
    skipped_columns = grid.skipped.all(0)
    prefix = 0 if by_head else int(np.argmin(np.append(skipped_columns, False)))
    n_skipped = int(grid.skipped[:, :prefix].sum())
    return {
        "key": str(grid.what),
        "axis": "head" if by_head else "position",
        "name": words.TITLES[grid.what],
        "short": "heads" if by_head else "stream" if grid.what in words.STREAM else "writes",
        "about": (grid.path or words.name_where(grid)) if by_head else "",
        "colour": "attention" if by_head else COLOURS.get(grid.what, "residual"),
        "lines": [] if by_head else ["clean", "corrupt"],
        "columns": _head_columns(grid) if by_head else _position_columns(grid),
        "prefix": prefix,
        "same": [
            "The same words so far,",
            "so the same vectors:",
            "nothing to patch,",
            f"{n_skipped:,} cells skipped",
        ],
        "before": "L" if by_head else words.BEFORE[grid.what],
        "between": "H" if by_head else " · ",
        "values": [round_numbers(values[rows[k]]) if k in rows else blank for k in layers],
        "states": [
            "".join(_state(grid, known, rows[k], c) for c in range(len(blank))) if k in rows else "." * len(blank)
            for k in layers
        ],
        "interval": list_intervals(grid.interval, rows, layers) if shares else None,
        "estimate": _estimates(grid, rows, layers, shares),
        "stories": write_stories(grid),
        "does": words.write_does(grid),
        "way": words.write_way(grid),
        "skipped": words.write_skipped(grid),
        "blank": "not run",
        "ways": _ways(grid) if links else [],
    }


def _state(grid: PatchGrid, known: np.ndarray, row: int, column: int) -> str:
    if not known[row, column]:
        return NOT_RUN
    return SKIPPED if grid.skipped[row, column] else VALUE


def list_intervals(
    interval: np.ndarray | None, rows: dict[int, int], layers: list[int]
) -> list[list[list[float | None]]] | None:
    """Lower and upper ends (2, L, C) of each cell, layer by layer as they are drawn; None where there are none."""
    if interval is None:
        return None
    blank: list[float | None] = [None] * interval.shape[2]
    return [[round_numbers(ends[rows[k]]) if k in rows else blank for k in layers] for ends in interval]


def _estimates(
    grid: PatchGrid, rows: dict[int, int], layers: list[int], shares: bool
) -> list[list[float | None]] | None:
    if grid.estimate is None:
        return None
    sign = 1 if grid.direction is Patching.DENOISE else -1
    scaled = sign * grid.estimate / (grid.clean - grid.corrupt) if shares else grid.estimate
    blank: list[float | None] = [None] * scaled.shape[1]
    return [round_numbers(scaled[rows[k]]) if k in rows else blank for k in layers]


def _head_columns(grid: PatchGrid) -> list[dict[str, Any]]:
    assert grid.heads is not None
    return [{"top": str(int(head)), "name": str(int(head))} for head in grid.heads]


def _position_columns(grid: PatchGrid) -> list[dict[str, Any]]:
    partner = {int(a): int(b) for a, b in grid.alignment}
    columns = []
    for position in map(int, grid.positions):
        clean, other = grid.clean_tokens[position], partner.get(position)
        corrupt = None if other is None else grid.corrupt_tokens[other]
        columns.append(
            {
                "top": printable(clean.shown),
                "bottom": None if corrupt is None else printable(corrupt.shown),
                "differ": corrupt is not None and corrupt.id != clean.id,
                "name": f"position {position} ‘{printable(clean.shown)}’",
            }
        )
    return columns


def _ways(grid: PatchGrid) -> list[dict[str, Any]]:
    """The ways on from a cell."""
    ways: list[dict[str, Any]] = [
        {
            "act": "test",
            "text": "Test this",
            "about": "Is it so on other prompts, and more than chance does?",
            "lead": True,
        },
    ]
    if not grid.path:  # what one place alone is told is no edit of a run
        ways.append({"act": "open", "text": "Open edited run", "about": "The run with this one patch, on all pages"})
    if grid.heads is None:
        ways.append({"act": "layer", "text": "Layer {layer}", "about": "What this layer wrote, and who wrote it"})
    elif grid.what in (Site.Z, Site.Q, Site.PATTERN):
        ways.append({"act": "attention", "text": "Attention", "about": "Where this head looks, and why"})
    return ways


def _carry(grid: PatchGrid, layers: list[int]) -> list[dict[str, Any]]:
    found = []
    kinds = "Heads" if grid.heads is not None else "Writes"
    for parts, title, about in zip(
        words.find_parts(grid), (f"{kinds} that carry it", "Against it"), ("each alone", ""), strict=True
    ):
        listed = [
            {
                "text": words.name_part(grid, part),
                "number": whole_share(part.value) if words.has_shares(grid) else words.show_metric(grid, part.value),
                "block": str(grid.what),
                "layer": layers.index(int(grid.layers[part.layer])),
                "column": part.column,
            }
            for part in parts
        ]
        if listed:
            found.append({"title": title, "about": about, "parts": listed})
    return found


def _find_most(grids: Sequence[PatchGrid], blocks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell that is told of when a grid opens: of the stream the highest layer where the first differing token holds
    the difference, else the largest value.
    """
    grid, block = grids[0], blocks[0]
    shares = np.nan_to_num(grid.recovered if words.has_shares(grid) else grid.effect)
    if not np.abs(shares).any():
        return None
    layer, column = (int(i) for i in np.unravel_index(int(np.abs(shares).argmax()), shares.shape))
    if grid.what in words.STREAM:
        holds = np.flatnonzero(shares[:, column] >= 0.5)
        layer = int(holds[-1]) if len(holds) else layer
    rows = block["values"]
    return {"block": block["key"], "layer": min(layer, len(rows) - 1), "column": column}
