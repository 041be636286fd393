"""Shares of attention and MLP as a Plotly figure: two maps, layers against positions."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.numbers import share
from intravisto_core.figures.plots import colour_bar, dressed, plotly_scale, token_ticks
from intravisto_core.figures.text import plotly_text
from intravisto_core.records import Shares


def shares_figure(shares: Shares, dark: bool = False) -> go.Figure:
    """Attention's share above, the MLP's below; blank where the share is undefined."""
    layers, length = shares.attention.shape
    parallel = shares.block == "parallel"
    titles = (f"attention, of {'block output' if parallel else 'the stream after attention'}", "MLP, of block output")
    figure = make_subplots(rows=2, cols=1, subplot_titles=titles, vertical_spacing=0.16, shared_xaxes=False)
    shown = {t.position: plotly_text(t.shown) for t in shares.tokens}
    places = [f"position {p} {shown.get(p, '')}".rstrip() for p in range(length)]
    for place, (name, values) in enumerate((("attention", shares.attention), ("mlp", shares.mlp)), start=1):
        low, high, scale = _range(values, name)
        trace = go.Heatmap(
            z=values,
            customdata=[
                [f"layer {layer} · {at}: {share(float(v))}" for at, v in zip(places, row, strict=True)]
                for layer, row in enumerate(values)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            zmin=low,
            zmax=high,
            xgap=1,
            ygap=1,
            colorscale=plotly_scale(scale, dark),
            colorbar=colour_bar("share", len=0.42, y=0.79 if place == 1 else 0.21, tickformat=".0%"),
        )
        figure.add_trace(trace, row=place, col=1)
        figure.update_yaxes(title_text="layer", dtick=max(1, layers // 12), row=place, col=1)
    figure.update_xaxes(**token_ticks(shares.tokens, length))
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    width = max(640, min(1600, 200 + 42 * length))
    return dressed(
        figure, f"Shares by {shares.measure.label}", dark=dark, width=width, height=260 + 2 * min(400, 26 * layers)
    )


def _range(values: np.ndarray, hue: str) -> tuple[float, float, str]:
    finite = values[np.isfinite(values)]
    if finite.size and (finite.min() < 0 or finite.max() > 1):
        most = max(1.0, float(np.abs(finite).max()))
        return -most, most, "diverging"
    return 0.0, 1.0, hue
