"""What all Plotly figures share: fonts, colours, token axes, colour scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from intravisto_core.figures.text import plotly_text, shorten
from intravisto_core.figures.theme import DARK, FONT, LIGHT, colour_scale, css
from intravisto_core.records import Token

MOST_TICKS = 60
MOST_NAME = 90
MODEL_LINE = 16


def plotly_scale(name: str, dark: bool = False) -> list[list[Any]]:
    """A scale of theme.py as Plotly writes it."""
    colours = colour_scale(name, dark)
    return [[i / 32, css(colours[round(i * 255 / 32)])] for i in range(33)]


def token_ticks(tokens: Sequence[Token], length: int, most: int = MOST_TICKS) -> dict[str, Any]:
    """Ticks of an axis over positions: `position token`; every n-th where there are many."""
    step = max(1, -(-length // most))
    shown = {t.position: t.shown for t in tokens}
    at = list(range(0, length, step))
    labels = [f"{p} {plotly_text(shorten(shown[p], 14))}" if p in shown else str(p) for p in at]
    return {"tickmode": "array", "tickvals": at, "ticktext": labels}


def name_model(figure: go.Figure, name: str, dark: bool = False) -> go.Figure:
    """The figure with the name of its model in a line under its title; the rest moves down by that line."""
    title = figure.layout.title.text
    if not name or title is None:
        return figure
    colour = (DARK if dark else LIGHT).muted
    line = f'<span style="font-size:12px;color:{colour}">{plotly_text(shorten(name, MOST_NAME))}</span>'
    figure.update_layout(
        title={"text": f"{title}<br>{line}"},
        height=figure.layout.height + MODEL_LINE,
        margin={"t": figure.layout.margin.t + MODEL_LINE},
    )
    return figure


def style_figure(figure: go.Figure, title: str, *, dark: bool, width: int, height: int, above: int = 52) -> go.Figure:
    """The figure with the house's fonts and colours. above: room for the title, and for an axis on top, in px."""
    theme = DARK if dark else LIGHT
    figure.update_layout(
        title={
            "text": plotly_text(title),
            "font": {"size": 16},
            "xref": "container",
            "x": 0,
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "pad": {"l": 16, "t": 14},
        },
        width=width,
        height=height,
        paper_bgcolor=theme.paper,
        plot_bgcolor=theme.paper,
        font={"family": FONT, "size": 12, "color": theme.ink},
        hoverlabel={
            "font": {"family": FONT, "size": 13, "color": theme.ink},
            "bgcolor": theme.paper,
            "bordercolor": theme.rule,
            "align": "left",
        },
        margin={"l": 16, "r": 16, "t": above, "b": 16},
    )
    figure.update_xaxes(automargin=True, showgrid=False, zeroline=False, linecolor=theme.rule)
    figure.update_yaxes(automargin=True, showgrid=False, zeroline=False, linecolor=theme.rule)
    return figure


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """A narrow colour bar."""
    return {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0, "len": 0.9} | more


def cell_map(
    values: np.ndarray,
    hover: Sequence[Sequence[str]] | np.ndarray,
    scale: str,
    dark: bool,
    ends: tuple[float, float],
    bar: dict[str, Any],
    **more: Any,
) -> go.Heatmap:
    """Cells with a line between them. hover: what each says. ends: the numbers at the ends of the scale."""
    return go.Heatmap(
        z=values,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        zmin=ends[0],
        zmax=ends[1],
        xgap=1,
        ygap=1,
        colorscale=plotly_scale(scale, dark),
        colorbar=bar,
        **more,
    )


def share_map(values: np.ndarray, hover: list[list[str]], scale: str, dark: bool, **more: object) -> go.Heatmap:
    """A map of shares; on a scale around 0 where some are negative. more: of the colour bar."""
    most = max(1e-9, float(np.nanmax(np.abs(values), initial=0.0)))
    signed = bool((values < 0).any())
    bar = colour_bar("share", tickformat=".0%", **more)
    return cell_map(values, hover, "diverging" if signed else scale, dark, (-most if signed else 0, most), bar)
