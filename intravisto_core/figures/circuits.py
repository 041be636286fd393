"""A circuit: a map of layers × heads and MLPs, and the curve of faithfulness; tables of parts and edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.circuit_words import QUESTION, describe
from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import cell_map, style_figure
from intravisto_core.figures.text import printable
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.figures.web.circuit_payload import circuit_data
from intravisto_core.records import Circuit

LEAST_HEIGHT, ROW = 360, 16
LINES = (
    "Each square is a head, each one at the right an MLP; layers go up. Filled ones are kept, all others give what "
    "they give in the corrupt prompt. Strokes are what parts hand to each other, as wide as their score.",
    "A circuit is one of these prompts and these corrupt prompts: what both share is not part of it.",
)


@draws(Circuit, "page")
def circuit_page(found: Circuit) -> str:
    """A circuit as on the page of the app."""
    about = f"{found.model} · {describe(found)}"
    return component_page(QUESTION, printable(about), {"circuit": circuit_data(found)}, LINES)


@draws(Circuit, "figure")
def circuit_figure(found: Circuit, *, dark: bool = False, width: int = 1000) -> go.Figure:
    """Left: the score of each part, a ring on those that are kept. Right: f against the share of parts kept."""
    theme, columns = DARK if dark else LIGHT, found.n_heads + 1
    figure = make_subplots(1, 2, column_widths=[0.55, 0.45], horizontal_spacing=0.2)
    most = max(1e-9, float(np.abs(found.scores).max()))
    hover = [
        f"{name}: score {change(float(score))}{_needed(found, i)}"
        for i, (name, score) in enumerate(zip(found.names, found.scores, strict=True))
    ]
    shape = (found.n_layers, columns)
    key = {"title": {"text": "logits", "side": "top"}, "thickness": 12, "outlinewidth": 0, "x": 0.45}
    scores = cell_map(
        found.scores.reshape(shape), np.array(hover).reshape(shape), "diverging", dark, (-most, most), key
    )
    figure.add_trace(scores, row=1, col=1)
    kept = np.flatnonzero(found.kept)
    ring: dict[str, Any] = {"symbol": "circle-open", "size": 9, "color": theme.ink, "line": {"width": 2}}
    figure.add_scatter(
        x=kept % columns,
        y=kept // columns,
        mode="markers",
        marker=ring,
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=1,
    )
    x = np.concatenate([[0.0], found.shares])
    low, high = found.faithfulness_interval
    error = {"array": np.concatenate([[0], high - found.faithfulness]), "color": theme.muted, "thickness": 1}
    error["arrayminus"] = np.concatenate([[0], found.faithfulness - low])
    for name, f, interval in (
        ("by score", found.faithfulness, error),
        ("by |score|", found.faithfulness_by_size, None),
    ):
        line = {"color": theme.accent if interval else theme.muted, "dash": "solid" if interval else "dot"}
        marker = {"size": 6}
        y = np.concatenate([[0.0], f])
        figure.add_scatter(
            x=x, y=y, mode="lines+markers", line=line, marker=marker, name=name, error_y=interval, row=1, col=2
        )
    for level in (0, 1):
        figure.add_hline(y=level, line={"color": theme.rule, "width": 1}, row=1, col=2)
    height = max(LEAST_HEIGHT, 150 + ROW * found.n_layers)
    style_figure(figure, describe(found), dark=dark, width=width, height=height, above=56)
    ticks = [*map(str, range(found.n_heads)), "MLP"]
    figure.update_xaxes(title={"text": "head"}, tickvals=list(range(columns)), ticktext=ticks, row=1, col=1)
    figure.update_yaxes(title={"text": "layer"}, row=1, col=1)
    figure.update_xaxes(title={"text": "share of heads and MLPs kept"}, tickformat=".0%", row=1, col=2)
    figure.update_yaxes(title={"text": "faithfulness"}, row=1, col=2)
    figure.update_layout(legend={"x": 0.68, "y": 1, "yanchor": "top"})
    return figure


def _needed(found: Circuit, i: int) -> str:
    if not found.kept[i] or np.isnan(found.minimality[i]):
        return ""
    return f"; without it f falls by {significant(float(found.minimality[i]))}"


@draws(Circuit, "frame")
def circuit_frame(found: Circuit) -> pd.DataFrame:
    """One row a part, the largest score first."""
    frame = pd.DataFrame(
        {
            "part": found.names,
            "layer": found.layer,
            "head": found.head,
            "score": found.scores,
            "kept": found.kept,
            "minimality": found.minimality,
            "low": found.minimality_interval[0],
            "high": found.minimality_interval[1],
        }
    )
    return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def frame_edges(found: Circuit, most: int) -> pd.DataFrame:
    """The edges of largest |score|."""
    assert found.edges is not None
    flat = np.argsort(-np.abs(found.edges), axis=None, kind="stable")[:most]
    source, reader = np.unravel_index(flat, found.edges.shape)
    return pd.DataFrame(
        {
            "source": [printable(found.sources[i]) for i in source],
            "reader": [printable(found.readers[i]) for i in reader],
            "score": found.edges[source, reader],
        }
    )
