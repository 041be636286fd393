"""Attention sinks: where they are and what decided, as a table; the share of position 0 for each head, as a map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import share
from intravisto_core.figures.plots import colour_bar, plotly_scale, style_figure
from intravisto_core.figures.text import printable
from intravisto_core.records import Sinks


@draws(Sinks, "figure")
def sinks_figure(sink: Sinks, dark: bool = False) -> go.Figure:
    """Layers down, heads across: the share of each head's attention that goes to position 0."""
    trace = go.Heatmap(
        z=sink.first,
        customdata=[
            [f"layer {layer}, head {head}: {share(float(v))}" for head, v in enumerate(row)]
            for layer, row in enumerate(sink.first)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        zmin=0,
        zmax=1,
        colorscale=plotly_scale("attention", dark),
        colorbar=colour_bar("share of attention", tickformat=".0%"),
    )
    figure = go.Figure(trace)
    layers, heads = sink.first.shape
    figure.update_xaxes(title_text="head", dtick=max(1, heads // 24))
    figure.update_yaxes(title_text="layer", autorange="reversed", dtick=max(1, layers // 36))
    title = f"Attention to position 0: {share(float(sink.first.mean()))} on average"
    width, height = max(420, min(1100, 220 + 28 * heads)), max(260, min(1000, 160 + 26 * layers))
    return style_figure(figure, title, dark=dark, width=width, height=height)


@draws(Sinks, "frame")
def sinks_frame(sinks: Sinks) -> pd.DataFrame:
    """One line a key of a layer, with the numbers that decided; the sinks first."""
    layer, position = np.indices(sinks.is_sink.shape).reshape(2, -1)
    order = np.argsort(~sinks.is_sink.ravel(), kind="stable")
    tokens = [printable(t.shown) for t in sinks.tokens] * len(sinks.is_sink)
    columns = {"layer": layer, "position": position, "token": np.array(tokens, dtype=object)}
    columns |= {n: getattr(sinks, n).ravel() for n in ("is_sink", "weight", "least", "size", "n_queries")}
    return pd.DataFrame({n: a[order] for n, a in columns.items()})
