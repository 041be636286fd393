"""Plain arrays as Plotly figures: an attention pattern, a captured activation, logits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.numbers import probability, share, significant
from intravisto_core.figures.plots import colour_bar, dressed, plotly_scale, token_ticks
from intravisto_core.figures.theme import ATTENTION, DARK, LIGHT
from intravisto_core.records import Activation, AttentionSink, Logits, Pattern

TOP_LOGITS = 30


def pattern_figure(pattern: Pattern, dark: bool = False) -> go.Figure:
    """Queries down, keys across; future keys blank."""
    length = len(pattern.values)
    seen = np.where(np.tri(length, dtype=bool), pattern.values, np.nan)
    trace = go.Heatmap(
        z=seen,
        customdata=[
            [f"{q} attends to {k}: {probability(float(v))}" for k, v in enumerate(row)] for q, row in enumerate(seen)
        ],
        hovertemplate="position %{customdata}<extra></extra>",
        hoverongaps=False,
        zmin=0,
        zmax=1,
        colorscale=plotly_scale("attention", dark),
        colorbar=colour_bar("attention", tickformat=".0%"),
    )
    figure = go.Figure(trace)
    ticks = token_ticks(pattern.tokens, length)
    figure.update_xaxes(title_text="key", side="top", tickangle=-60, **ticks)
    figure.update_yaxes(title_text="query", autorange="reversed", **ticks)
    side = max(380, min(1100, 24 * length))
    title = f"Attention pattern, layer {pattern.layer}, head {pattern.head}"
    return dressed(figure, title, dark=dark, width=side + 220, height=side + 240, above=130)


def attention_sink_figure(sink: AttentionSink, dark: bool = False) -> go.Figure:
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
    figure.update_xaxes(title_text="head", dtick=1)
    figure.update_yaxes(title_text="layer", autorange="reversed", dtick=1)
    layers, heads = sink.first.shape
    title = f"Attention to position 0: {share(sink.share)} on average"
    width, height = max(420, min(1100, 220 + 28 * heads)), max(260, min(1000, 160 + 26 * layers))
    return dressed(figure, title, dark=dark, width=width, height=height)


def attention_sink_frame(sink: AttentionSink) -> pd.DataFrame:
    """One line a head: layer, head, share of position 0, share of learned sinks."""
    layer, head = np.indices(sink.first.shape).reshape(2, -1)
    columns = {"layer": layer, "head": head, "first": sink.first.ravel(), "learned": sink.learned.ravel()}
    return pd.DataFrame(columns)


def activation_figure(activation: Activation, dark: bool = False) -> go.Figure:
    """Positions down, dimensions across (heads one after the other), on a scale around 0."""
    values = activation.values
    heads = 1 if values.ndim == 2 else len(values)
    flat = values if values.ndim == 2 else np.concatenate(list(values), axis=1)
    size = float(np.percentile(np.abs(flat), 99.5)) if flat.size else 1.0
    trace = go.Heatmap(
        z=flat,
        hovertemplate="position %{y}, dimension %{x}: %{z:.3g}<extra></extra>",
        zmin=-(size or 1.0),
        zmax=size or 1.0,
        colorscale=plotly_scale("diverging", dark),
        colorbar=colour_bar(f"value (ends at ±{significant(size)}, the 99.5th percentile)"),
    )
    figure = go.Figure(trace)
    for head in range(1, heads):
        x = head * values.shape[-1] - 0.5
        figure.add_vline(x=x, line={"width": 1, "color": (DARK if dark else LIGHT).ink})
    figure.update_xaxes(title_text="dimension" if heads == 1 else f"dimension, {heads} heads side by side")
    figure.update_yaxes(title_text="position", autorange="reversed")
    which = "" if activation.head is None else f", head {activation.head}"
    title = f"{activation.site.label}, layer {activation.layer}{which}"
    return dressed(figure, title, dark=dark, width=980, height=max(320, min(1000, 160 + 18 * flat.shape[0])))


def logits_figure(logits: Logits, dark: bool = False) -> go.Figure:
    """The highest logits, as bars."""
    top = np.argsort(-logits.values, kind="stable")[:TOP_LOGITS]
    trace = go.Bar(
        x=logits.values[top],
        y=[f"id {i}" for i in top],
        orientation="h",
        marker={"color": ATTENTION if dark else LIGHT.accent},
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )
    figure = go.Figure(trace)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="logit")
    title = f"Highest {len(top)} of {len(logits.values):,} logits after position {logits.position}"
    return dressed(figure, title, dark=dark, width=680, height=120 + 20 * len(top))
