"""What the route over a generation is given in the browser."""

from __future__ import annotations

from typing import Any

import numpy as np

from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import round_numbers
from intravisto_core.records import Route

LISTED = 4


def route_payload(route: Route, top: int, listed: int = LISTED) -> dict[str, Any]:
    """The data of flow_route.js. top: the row that a line leads to. listed: sources, layers and heads of a line."""
    lines = []
    for g, position in enumerate(route.positions.tolist()):
        lines.append(
            {
                "position": position,
                "sources": round_numbers(route.sources[g, :position]),
                "lost": float(f"{route.lost[g].sum():.5g}"),
                "tops": _largest(route.sources[g, :position], listed),
                "layers": _layers(route, g, listed),
                "heads": _heads(route, g, listed),
            }
        )
    return {
        "rev": route.trace,
        "top": top,
        "prompt": route.prompt_length,
        "reads": [printable(t.shown) for t in route.tokens],
        "lines": lines,
    }


def _largest(values: np.ndarray, listed: int) -> list[list[float]]:
    order = np.argsort(-np.abs(values), kind="stable")[:listed]
    return [[int(i), float(f"{values[i]:.4g}")] for i in order if values[i]]


def _layers(route: Route, g: int, listed: int) -> list[list[Any]]:
    """[kind, layer, mass] of the attentions and MLPs that carry most."""
    both = np.concatenate([route.attention[g], route.mlp[g]])
    n = route.n_layers
    return [["attention" if i < n else "mlp", i % n, mass] for i, mass in _largest(both, listed)]


def _heads(route: Route, g: int, listed: int) -> list[list[float]]:
    """[layer, head, mass] of the heads that bring most from other positions."""
    heads = route.heads[g]
    return [[i // heads.shape[1], i % heads.shape[1], mass] for i, mass in _largest(heads.ravel(), listed)]
