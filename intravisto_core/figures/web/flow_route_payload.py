"""What the route over a generation is given in the browser."""

from __future__ import annotations

from typing import Any

import numpy as np

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import round_numbers
from intravisto_core.records import Route

LISTED = 4


def route_payload(route: Route, top: int, listed: int = LISTED) -> dict[str, Any]:
    """The data of flow_route.js. top: the row that a line leads to. listed: sources, layers and heads of a line.

    Of several lines, what they have in common is told once: the layers and heads of largest mean mass. Each line then
    lists those in which it differs most from that mean.
    """
    parts, heads = np.concatenate([route.attention, route.mlp], 1), route.heads.reshape(len(route.positions), -1)
    lines = []
    for g, position in enumerate(route.positions.tolist()):
        lines.append(
            {
                "position": position,
                "sources": round_numbers(route.sources[g, :position]),
                "lost": float(f"{route.lost[g].sum():.5g}"),
                "tops": _largest(route.sources[g, :position], listed),
                "layers": [_part(route, *one) for one in _telling(parts, g, listed)],
                "heads": [_head(route, *one) for one in _telling(heads, g, listed)],
            }
        )
    several = len(lines) > 1
    return {
        "rev": route.trace,
        "model": printable(route.model),
        "top": top,
        "prompt": route.prompt_length,
        "reads": [printable(t.shown) for t in route.tokens],
        "lines": lines,
        "commonLayers": [_part(route, *one) for one in _largest(parts.mean(0), listed)] if several else [],
        "commonHeads": [_head(route, *one) for one in _largest(heads.mean(0), listed)] if several else [],
    }


def _largest(values: np.ndarray, listed: int) -> list[tuple[int, float]]:
    order = np.argsort(-np.abs(values), kind="stable")[:listed]
    return [(int(i), float(f"{values[i]:.4g}")) for i in order if values[i]]


def _telling(values: np.ndarray, g: int, listed: int) -> list[tuple[int, float, float | None]]:
    """Index, mass and difference from the mean of all lines: the largest differences; of a single line the masses."""
    if len(values) == 1:
        return [(i, mass, None) for i, mass in _largest(values[g], listed)]
    return [(i, float(f"{values[g, i]:.4g}"), apart) for i, apart in _largest(values[g] - values.mean(0), listed)]


def _part(route: Route, i: int, mass: float, apart: float | None = None) -> list[Any]:
    """[kind, layer, mass, difference] of an attention or an MLP."""
    return ["attention" if i < route.n_layers else "mlp", i % route.n_layers, mass, apart]


def _head(route: Route, i: int, mass: float, apart: float | None = None) -> list[Any]:
    """[layer, head, mass, difference] of a head, by what it brings from other positions."""
    n_heads = route.heads.shape[2]
    return [i // n_heads, i % n_heads, mass, apart]
