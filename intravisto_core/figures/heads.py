"""What heads do as Plotly figures and tables: maps of layers and heads, one beside the other for each score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import share, significant
from intravisto_core.figures.plots import colour_bar, plotly_scale, style_figure
from intravisto_core.records import HeadComposition, HeadPatterns, HeadTargets, HeadTypes

MAPS_A_ROW = 4
BETWEEN_ROWS = 80  # pixels: numbers and name of one axis, and the title of the next map
SHARES = ("previous", "duplicate", "induction", "first")


def _maps(maps: Mapping[str, np.ndarray], title: str, dark: bool, signed: bool = False) -> go.Figure:
    """Layers down, heads across, one map for each name; all on one scale."""
    names, (layers, heads) = list(maps), next(iter(maps.values())).shape
    n_rows, n_columns = -(-len(names) // MAPS_A_ROW), min(MAPS_A_ROW, len(names))
    tall = n_rows * max(180, min(700, 60 + 14 * layers))
    gaps = {"horizontal_spacing": 0.05, "vertical_spacing": BETWEEN_ROWS / tall}
    figure = make_subplots(n_rows, n_columns, subplot_titles=names, **gaps)
    most = max((float(np.nanmax(np.abs(v), initial=0)) for v in maps.values()), default=1.0)
    for i, (name, values) in enumerate(maps.items()):
        words = significant if signed else share
        hover = [
            [f"L{layer}H{head} · {name}: {words(float(v))}" for head, v in enumerate(row)]
            for layer, row in enumerate(values)
        ]
        trace = go.Heatmap(
            z=values,
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            coloraxis="coloraxis",
        )
        figure.add_trace(trace, i // MAPS_A_ROW + 1, i % MAPS_A_ROW + 1)
    bar = colour_bar("" if signed else "share of attention", **({} if signed else {"tickformat": ".0%"}))
    scale = plotly_scale("diverging" if signed else "attention", dark)
    figure.update_layout(coloraxis={"colorscale": scale, "cmin": -most if signed else 0, "cmax": most, "colorbar": bar})
    figure.update_xaxes(title_text="head", dtick=max(1, heads // 6))
    figure.update_yaxes(autorange="reversed", dtick=max(1, layers // 12))
    width = 120 + n_columns * max(200, min(420, 12 * heads))
    return style_figure(figure, title, dark=dark, width=width, height=110 + tall, above=84)


def _frame(columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One line a head."""
    layer, head = np.indices(next(iter(columns.values())).shape).reshape(2, -1)
    return pd.DataFrame({"layer": layer, "head": head, **{name: v.ravel() for name, v in columns.items()}})


@draws(HeadTargets, "figure")
def head_targets_figure(found: HeadTargets, dark: bool = False) -> go.Figure:
    """One map for each kind of keys."""
    maps = {target.label: found.shares[..., i] for i, target in enumerate(found.classes)}
    return _maps(maps, "What heads look at on this text", dark)


@draws(HeadTargets, "frame")
def head_targets_frame(found: HeadTargets) -> pd.DataFrame:
    """One line a head: the share of every kind of keys, then what else is known of it."""
    shares = {str(target): found.shares[..., i] for i, target in enumerate(found.classes)}
    return _frame({**shares, "learned": found.learned, "entropy": found.entropy, "distance": found.distance})


@draws(HeadPatterns, "figure")
def head_patterns_figure(found: HeadPatterns, dark: bool = False) -> go.Figure:
    """All pictures side by side, layers down, heads across; lighter and darker on a logarithmic scale."""
    layers, heads, n, _ = found.pictures.shape
    gap = 1
    sheet = np.full((layers * (n + gap) - gap, heads * (n + gap) - gap), np.nan)
    for layer, head in np.ndindex(layers, heads):
        y, x = layer * (n + gap), head * (n + gap)
        sheet[y : y + n, x : x + n] = np.where(np.tri(n, dtype=bool), found.pictures[layer, head], np.nan)
    trace = go.Heatmap(
        z=sheet, zmin=0, zmax=255, showscale=False, hoverinfo="skip", colorscale=plotly_scale("attention", dark)
    )
    figure = go.Figure(trace)
    for axes, count, every in ((figure.update_xaxes, heads, 16), (figure.update_yaxes, layers, 24)):
        at = list(range(0, count, max(1, count // every)))
        axes(tickmode="array", tickvals=[i * (n + gap) + n / 2 for i in at], ticktext=at)
    figure.update_xaxes(title_text="head")
    figure.update_yaxes(title_text="layer", autorange="reversed")
    field = max(1.0, min(3.0, 1200 / sheet.shape[1]))
    width, height = 120 + int(field * sheet.shape[1]), 120 + int(field * sheet.shape[0])
    return style_figure(figure, "Patterns of all heads", dark=dark, width=width, height=height)


@draws(HeadPatterns, "frame")
def head_patterns_frame(found: HeadPatterns) -> pd.DataFrame:
    """One line a field of a picture that is not empty."""
    layer, head, query, key = np.nonzero(found.pictures)
    return pd.DataFrame(
        {
            "layer": layer,
            "head": head,
            "first_query": found.bounds[query],
            "first_key": found.bounds[key],
            "attention": found.values[layer, head, query, key],
        }
    )


@draws(HeadTypes, "figure")
def head_types_figure(found: HeadTypes, dark: bool = False) -> go.Figure:
    """One map for each score that is a share of attention, and the copying score."""
    maps = {name: getattr(found, name) for name in (*SHARES, "copying")}
    title = f"Heads on {found.n_tokens} random tokens said twice"
    return _maps(maps, title, dark, signed=bool(np.nanmin(found.copying, initial=0) < 0))


@draws(HeadTypes, "frame")
def head_types_frame(found: HeadTypes) -> pd.DataFrame:
    """One line a head."""
    names = ("previous", "duplicate", "induction", "copying", "first", "entropy")
    return _frame({name: getattr(found, name) for name in names})


@draws(HeadComposition, "figure")
def head_composition_figure(found: HeadComposition, dark: bool = False) -> go.Figure:
    """One map for each way to read: queries, keys and values; above chance, and below it."""
    maps = {"by queries": found.q, "by keys": found.k, "by values": found.v}
    return _maps(maps, f"What L{found.layer}H{found.head} can read of the heads below", dark, signed=True)


@draws(HeadComposition, "frame")
def head_composition_frame(found: HeadComposition) -> pd.DataFrame:
    """One line a head below."""
    return _frame({"q": found.q, "k": found.k, "v": found.v})
