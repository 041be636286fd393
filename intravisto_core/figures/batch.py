"""Means over a batch of prompts, as a Plotly figure and a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.plots import colour_bar, plotly_scale, style_figure
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.records import BatchSummary

TITLES = (
    "Probability of the token that is said, by row",
    "What each head adds to its logit",
    "Attention to position 0, by layer",
)


@draws(BatchSummary, "figure")
def batch_figure(found: BatchSummary, dark: bool = False) -> go.Figure:
    """The three means side by side; bars and bands are 95 % intervals."""
    figure = make_subplots(rows=1, cols=3, subplot_titles=TITLES, horizontal_spacing=0.09)
    colour = (DARK if dark else LIGHT).ink
    if found.curve.size:
        figure.add_trace(_line(found.curve, _rows(found.curve.shape[1]), colour), row=1, col=1)
    if found.heads.size:
        largest = float(np.nanmax(np.abs(found.heads[0]), initial=0.0)) or 1.0
        figure.add_trace(
            go.Heatmap(
                z=found.heads[0],
                zmin=-largest,
                zmax=largest,
                colorscale=plotly_scale("diverging", dark),
                customdata=np.moveaxis(found.heads[1:], 0, -1),
                hovertemplate="layer %{y} head %{x}: %{z:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})"
                "<extra></extra>",
                colorbar=colour_bar("logits", x=0.645, xanchor="left", thickness=8),
            ),
            row=1,
            col=2,
        )
    if found.first.size:
        layers = [f"layer {i}" for i in range(found.first.shape[1])]
        figure.add_trace(_line(found.first, layers, colour), row=1, col=3)
    failed = f", {found.n_failed} failed" if found.n_failed else ""
    title = f"{found.n_prompts:,} prompts{failed}: means with 95 % intervals"
    styled = style_figure(figure, title, dark=dark, width=1180, height=460, above=90)
    styled.update_layout(showlegend=False)
    styled.update_xaxes(title_text="head", row=1, col=2)
    styled.update_yaxes(title_text="layer", row=1, col=2)
    return styled


def _line(values: np.ndarray, names: list[str], colour: str) -> Any:
    mean, low, high = values
    error = {"type": "data", "array": high - mean, "arrayminus": mean - low, "color": colour}
    return go.Scatter(x=names, y=mean, error_y=error, mode="lines+markers", line={"color": colour})


def _rows(n: int) -> list[str]:
    return ["embeddings", *(f"layer {i}" for i in range(n - 2)), "final norm"]


@draws(BatchSummary, "frame")
def batch_frame(found: BatchSummary) -> pd.DataFrame:
    """One line a number: what it is, its row or layer, its head, mean and interval."""
    lines: list[tuple[Any, ...]] = []
    for what, values in (("curve", found.curve), ("first", found.first)):
        lines += [(what, i, -1, *map(float, values[:, i])) for i in range(values.shape[1])]
    for layer, head in np.ndindex(found.heads.shape[1:]):
        lines.append(("head", layer, head, *map(float, found.heads[:, layer, head])))
    return pd.DataFrame(lines, columns=["what", "row_or_layer", "head", "mean", "low", "high"])
