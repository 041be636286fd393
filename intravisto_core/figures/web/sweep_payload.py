"""What the picture of a sweep of ablations is given: the same script as for patching grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intravisto_core.figures import sweep_words as words
from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.text import printable, shorten
from intravisto_core.figures.web.flow_payload import round_numbers
from intravisto_core.figures.web.patching_payload import list_intervals
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import SweepGrid
from intravisto_core.sites import Site

QUESTION = "Which parts does the answer need?"
COLOURS = {Site.Z: "attention", Site.ATTN_OUT: "attention", Site.MLP_OUT: "mlp"}
TOLD = 0.04
MOST_LISTED, LONGEST = 12, 38


def sweep_data(
    grids: Sequence[SweepGrid],
    prompt: int | None = None,
    links: bool = False,
    rev: str = "",
    chosen: Mapping[str, Any] | None = None,
    progress: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of patching.js: sweeps of the same prompts side by side.

    prompt: the one that is shown alone; None shows their mean. Else as `patching_data`.
    """
    first = grids[0]
    layers = sorted({int(layer) for grid in grids for layer in grid.layers})
    values = [words.choose_values(grid, prompt) for grid in grids]
    most = max((float(np.nanmax(np.abs(v), initial=0.0)) for v, _, _ in values), default=0.0) or 1.0
    floor = max(floor for _, _, floor in values)
    blocks = [_block(grid, v, layers, prompt, links) for grid, (v, _, _) in zip(grids, values, strict=True)]
    return {
        "rev": rev,
        "links": links,
        "model": printable(first.model),
        "title": QUESTION,
        "fileName": "sweep",
        "about": words.write_about(first, prompt),
        "layers": layers,
        "blocks": blocks,
        "unit": "effect",
        "metric": "logit_diff",
        "most": most,
        "told": TOLD * most,
        "floor": floor,
        "floorText": f"below the noise floor ({significant(floor)} logits)",
        "scaleText": f"{change(-most)} … 0 … {change(most)} logits",
        "base": values[0][1],
        "span": 1.0,
        "scatter": "",
        "carry": [] if progress else [part for grid in grids for part in _carry(grid, layers, prompt)],
        "more": [] if progress else _list_prompts(grids, prompt),
        "foot": [
            *(["Stopped before its end: cells with a dot were not run."] if any(g.cancelled for g in grids) else []),
            *(as_sentence(printable(note)) for note in dict.fromkeys(note for g in grids for note in g.notes)),
        ],
        "chosen": dict(chosen) if chosen else _find_most(grids, layers, prompt),
        "progress": dict(progress) if progress else None,
    }


def _block(grid: SweepGrid, values: np.ndarray, layers: list[int], prompt: int | None, links: bool) -> dict[str, Any]:
    rows = {int(layer): i for i, layer in enumerate(grid.layers)}
    heads = grid.heads is not None
    blank: list[float | None] = [None] * values.shape[1]
    name = words.TITLES[grid.what]
    return {
        "key": str(grid.what),
        "axis": "head",
        "name": name,
        "short": name,
        "about": "",
        "colour": COLOURS[grid.what],
        "lines": [],
        "columns": [{"top": str(int(h)), "name": str(int(h))} for h in grid.heads]
        if grid.heads is not None
        else [{"top": "", "name": name}],
        "prefix": 0,
        "same": [],
        "before": "L" if heads else "layer ",
        "between": "H" if heads else " ",
        "values": [round_numbers(values[rows[k]]) if k in rows else blank for k in layers],
        "states": [_states(values[rows[k]]) if k in rows else "." * len(blank) for k in layers],
        "interval": list_intervals(grid.interval, rows, layers) if prompt is None else None,
        "estimate": None,
        "stories": None,
        "does": f"Without {words.PARTS[grid.what]}, the {words.name_lead(grid, prompt)} goes from "
        f"{change(words.choose_values(grid, prompt)[1])} to ",
        "way": " logits.",
        "skipped": "",
        "blank": "not run",
        "ways": _ways(grid) if links else [],
    }


def _states(values: np.ndarray) -> str:
    return "".join("v" if known else "." for known in np.isfinite(values))


def _ways(grid: SweepGrid) -> list[dict[str, Any]]:
    ways: list[dict[str, Any]] = [
        {"act": "test", "text": "Test this", "about": "Is it more than chance does, on many prompts?", "lead": True},
        {"act": "open", "text": "Open edited run", "about": "The run with this one ablation, on all pages"},
        {"act": "layer", "text": "Layer {layer}", "about": "What this layer wrote, and who wrote it"},
    ]
    if grid.heads is not None:
        ways.append({"act": "attention", "text": "Attention", "about": "Where this head looks, and why"})
    return ways


def _carry(grid: SweepGrid, layers: list[int], prompt: int | None) -> list[dict[str, Any]]:
    values, _, _ = words.choose_values(grid, prompt)
    found = []
    name = words.TITLES[grid.what]
    for places, title in zip(
        words.find_parts(grid, prompt), (f"{name}: needed most", f"{name}: it rises without"), strict=True
    ):
        if places:
            parts = [
                {
                    "text": words.name_part(grid, row, column),
                    "number": change(float(values[row, column])),
                    "block": str(grid.what),
                    "layer": layers.index(int(grid.layers[row])),
                    "column": column,
                }
                for row, column in places
            ]
            found.append({"title": title, "about": "", "parts": parts})
    return found


def _list_prompts(grids: Sequence[SweepGrid], prompt: int | None) -> list[dict[str, Any]]:
    """Which part each prompt needs most, where there are several."""
    grid = grids[0]
    if len(grid.prompts) < 2 or prompt is not None:
        return []
    lines: list[list[tuple[str, int]]] = []
    for i, text in enumerate(grid.prompts[:MOST_LISTED]):
        falls, _ = words.find_parts(grid, i)
        part = f"{words.name_part(grid, *falls[0])} {change(float(grid.effects[i][falls[0]]))}" if falls else "none"
        lines.append([(f"{shorten(printable(text), LONGEST)} ", 0), (part, 1)])
    if len(grid.prompts) > MOST_LISTED:
        lines.append([(f"and {len(grid.prompts) - MOST_LISTED} more", 0)])
    return [{"title": "Needed most in each prompt", "lines": lines}]


def _find_most(grids: Sequence[SweepGrid], layers: list[int], prompt: int | None) -> dict[str, Any] | None:
    values, _, _ = words.choose_values(grids[0], prompt)
    sizes = np.abs(np.nan_to_num(values))
    if not sizes.any():
        return None
    row, column = (int(i) for i in np.unravel_index(int(sizes.argmax()), sizes.shape))
    return {"block": str(grids[0].what), "layer": layers.index(int(grids[0].layers[row])), "column": column}
