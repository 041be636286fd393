"""The route of a generation, and the heads of one attention node."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.numbers import share
from intravisto_core.figures.plots import colour_bar, dressed, plotly_scale, token_ticks
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.records import HeadShares, Route, row_label

TOP = 5


def _map(values: np.ndarray, hover: list[list[str]], scale: str, dark: bool, **bar: object) -> go.Heatmap:
    """A map of shares; on a scale around 0 where some are negative."""
    most = max(1e-9, float(np.nanmax(np.abs(values), initial=0.0)))
    signed = bool((values < 0).any())
    return go.Heatmap(
        z=values,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        zmin=-most if signed else 0,
        zmax=most,
        xgap=1,
        ygap=1,
        colorscale=plotly_scale("diverging" if signed else scale, dark),
        colorbar=colour_bar("share", tickformat=".0%", **bar),
    )


def _generated(route: Route) -> list[str]:
    return [f"{p} {plotly_text(shorten(route.tokens[p].shown, 12))}" for p in route.positions.tolist()]


def route_figure(route: Route, dark: bool = False) -> go.Figure:
    """For each generated token, one a column: which positions its mass comes from, and through whose attention."""
    names = _generated(route)
    last = int(route.positions.max(initial=0))
    sources, layers = route.sources[:, :last].T, route.attention.T
    titles = ("from which position", "through the attention of which layer")
    figure = make_subplots(rows=2, cols=1, subplot_titles=titles, vertical_spacing=0.12, shared_xaxes=True)
    hover = [
        [
            f"{name} from position {p} {plotly_text(route.tokens[p].shown)}: {share(float(v))}"
            for name, v in zip(names, row, strict=True)
        ]
        for p, row in enumerate(sources)
    ]
    figure.add_trace(_map(sources, hover, "residual", dark, len=0.5, y=0.76), row=1, col=1)
    hover = [
        [f"{name} through layer {layer}: {share(float(v))}" for name, v in zip(names, row, strict=True)]
        for layer, row in enumerate(layers)
    ]
    figure.add_trace(_map(layers, hover, "attention", dark, len=0.4, y=0.2), row=2, col=1)
    figure.update_yaxes(autorange="reversed", row=1, col=1, **token_ticks(route.tokens[:last], last))
    figure.update_yaxes(title_text="layer", dtick=max(1, route.n_layers // 12), row=2, col=1)
    at = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names, "tickangle": -60}
    figure.update_xaxes(**at)
    title = f"Where {len(names)} generated tokens come from, shares by {route.measure.label}"
    size = {
        "width": max(640, min(1800, 260 + 36 * len(names))),
        "height": min(1600, 340 + 16 * (last + route.n_layers)),
    }
    return dressed(figure, title, dark=dark, **size, above=84)


def route_frame(route: Route, top: int = TOP) -> pd.DataFrame:
    """For each generated token its largest sources, layers and heads, one a line."""
    lines = []
    for g, position in enumerate(route.positions.tolist()):
        heads = route.heads[g]
        for what, values in (("source", route.sources[g]), ("layer", route.attention[g]), ("head", heads.reshape(-1))):
            for k, i in enumerate(np.argsort(-np.abs(values), kind="stable")[:top].tolist(), start=1):
                name = f"{i // heads.shape[1]}.{i % heads.shape[1]}" if what == "head" else str(i)
                token = printable(route.tokens[i].shown) if what == "source" else ""
                shown = printable(route.tokens[position].shown)
                lines.append((position, shown, what, k, name, token, float(values[i])))
    return pd.DataFrame(lines, columns=["position", "token", "what", "k", "which", "source_token", "mass"])


def head_shares_figure(found: HeadShares, dark: bool = False) -> go.Figure:
    """Heads down, source positions across."""
    length = found.position + 1
    values = found.shares[:, :length]
    hover = [
        [
            f"head {h} from position {p} {plotly_text(found.tokens[p].shown)}: {share(float(v))}"
            for p, v in enumerate(row)
        ]
        for h, row in enumerate(values)
    ]
    figure = go.Figure(_map(values, hover, "attention", dark))
    figure.update_xaxes(tickangle=-60, **token_ticks(found.tokens, length))
    figure.update_yaxes(title_text="head", autorange="reversed", dtick=max(1, len(values) // 16))
    how = "joint L1 form" if found.attention is None else found.attention.label
    title = f"Heads of {row_label(found.row, found.n_layers)}, position {found.position} · {how}"
    size = {"width": max(560, min(1800, 240 + 34 * length)), "height": max(320, min(1200, 200 + 22 * len(values)))}
    return dressed(figure, title, dark=dark, **size)


def head_shares_frame(found: HeadShares) -> pd.DataFrame:
    """One line a head and source position, the largest share first."""
    n_heads, length = found.shares.shape
    table = pd.DataFrame(
        {
            "head": np.repeat(np.arange(n_heads), length),
            "source": np.tile(np.arange(length), n_heads),
            "token": [printable(t.shown) for t in found.tokens] * n_heads,
            "share": found.shares.reshape(-1),
        }
    )
    table = table[table["source"] <= found.position]
    return table.sort_values("share", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)
