"""Shares and plain arrays as Plotly figures and tables: attention patterns and sinks, activations, logits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import probability, share, significant
from intravisto_core.figures.plots import cell_map, colour_bar, plotly_scale, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.theme import ATTENTION, DARK, LIGHT
from intravisto_core.records import Activation, DecodedVectors, Logits, ModuleValue, Pattern, Shares

TOP_LOGITS = 30


@draws(Pattern, "figure")
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
    return style_figure(figure, title, dark=dark, width=side + 220, height=side + 240, above=130)


@draws(Activation, "figure")
def activation_figure(activation: Activation, dark: bool = False) -> go.Figure:
    """Positions down, dimensions across (heads one after the other), on a scale around 0."""
    values = activation.values
    heads = 1 if values.ndim == 2 else len(values)
    flat = values if values.ndim == 2 else np.concatenate(list(values), axis=1)
    figure = draw_signed(flat, dark)
    for head in range(1, heads):
        x = head * values.shape[-1] - 0.5
        figure.add_vline(x=x, line={"width": 1, "color": (DARK if dark else LIGHT).ink})
    figure.update_xaxes(title_text="dimension" if heads == 1 else f"dimension, {heads} heads side by side")
    figure.update_yaxes(title_text="position", autorange="reversed")
    which = "" if activation.head is None else f", head {activation.head}"
    step = "" if activation.step is None else f", step {activation.step}"
    title = f"{activation.site.label}, layer {activation.layer}{which}{step}"
    return style_figure(figure, title, dark=dark, width=980, height=max(320, min(1000, 160 + 18 * flat.shape[0])))


def draw_signed(flat: np.ndarray, dark: bool) -> go.Figure:
    """Rows down, columns across, on a scale around 0."""
    size = float(np.percentile(np.abs(flat), 99.5)) if flat.size else 1.0
    trace = go.Heatmap(
        z=flat,
        hovertemplate="position %{y}, dimension %{x}: %{z:.3g}<extra></extra>",
        zmin=-(size or 1.0),
        zmax=size or 1.0,
        colorscale=plotly_scale("diverging", dark),
        colorbar=colour_bar(f"value (ends at ±{significant(size)}, the 99.5th percentile)"),
    )
    return go.Figure(trace)


@draws(ModuleValue, "figure")
def module_figure(module: ModuleValue, part: int = 0, dark: bool = False) -> go.Figure:
    """One array of the value, its last axis across and all others down. part: which, where there are several."""
    found = module.arrays()
    if not 0 <= part < len(found):
        allowed = f"0 to {len(found) - 1}" if found else "a value with a tensor in it: this one has none"
        raise RequestError(expected("part", allowed, part))
    place, array = found[part]
    flat = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    figure = draw_signed(flat, dark)
    figure.update_xaxes(title_text="last axis")
    figure.update_yaxes(title_text="all other axes", autorange="reversed")
    shape = " × ".join(map(str, array.shape))
    title = f"{module.what.label} of {module.path}{f', part {place}' if place else ''}: {shape}"
    return style_figure(
        figure, plotly_text(title), dark=dark, width=980, height=max(320, min(1000, 160 + 18 * flat.shape[0]))
    )


@draws(ModuleValue, "frame")
def module_frame(module: ModuleValue) -> pd.DataFrame:
    """One line a number: the part of the value, its index as a text, the number."""
    tables = [
        pd.DataFrame(
            {
                "part": place,
                "index": [" ".join(map(str, i)) for i in np.ndindex(array.shape)],
                "value": array.ravel(),
            }
        )
        for place, array in module.arrays()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["part", "index", "value"])


@draws(Logits, "figure")
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
    cell = "" if logits.row is None else f", {logits.component.label} of row {logits.row}, {logits.lens.label} lens"
    title = f"Highest {len(top)} of {len(logits.values):,} logits after position {logits.position}{cell}"
    return style_figure(figure, title, dark=dark, width=680, height=120 + 20 * len(top))


@draws(DecodedVectors, "figure")
def decoded_figure(decoded: DecodedVectors, vector: int = 0, dark: bool = False) -> go.Figure:
    """The tokens of one vector, as bars of their probabilities. vector: which of them."""
    n, k = decoded.token_ids.shape
    if not 0 <= vector < n:
        raise RequestError(expected("vector", f"0 to {n - 1}", vector))
    shown = [plotly_text(decoded.shown[int(i)]) for i in decoded.token_ids[vector]]
    trace = go.Bar(
        x=decoded.probabilities[vector],
        y=[f"{place + 1}  {text}" for place, text in enumerate(shown)],
        text=[probability(float(p)) for p in decoded.probabilities[vector]],
        orientation="h",
        marker={"color": ATTENTION if dark else LIGHT.accent},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure = go.Figure(trace)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".0%", title_text="probability")
    title = f"Vector {vector}, {decoded.lens.label} lens" if n > 1 else f"A vector, {decoded.lens.label} lens"
    return style_figure(figure, title, dark=dark, width=680, height=120 + 26 * k)


@draws(DecodedVectors, "frame")
def decoded_frame(decoded: DecodedVectors) -> pd.DataFrame:
    """One line a vector and token: vector, rank, id, token, logit, probability, the vector's entropy."""
    n, k = decoded.token_ids.shape
    return pd.DataFrame(
        {
            "vector": np.repeat(np.arange(n), k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "token_id": decoded.token_ids.ravel(),
            "token": [printable(decoded.shown[int(i)]) for i in decoded.token_ids.ravel()],
            "logit": decoded.logits.ravel(),
            "probability": decoded.probabilities.ravel(),
            "entropy": np.repeat(decoded.entropy, k),
        }
    )


@draws(Pattern, "frame")
def pattern_frame(pattern: Pattern) -> pd.DataFrame:
    """One line a query and a key that it can see."""
    query, key = np.tril_indices(len(pattern.values))
    shown = {t.position: printable(t.shown) for t in pattern.tokens}
    return pd.DataFrame(
        {
            "layer": pattern.layer,
            "head": pattern.head,
            "query": query,
            "key": key,
            "query_token": [shown.get(int(q), "") for q in query],
            "key_token": [shown.get(int(k), "") for k in key],
            "attention": pattern.values[query, key],
        }
    )


@draws(Activation, "frame")
def activation_frame(activation: Activation) -> pd.DataFrame:
    """One line a position (and head), one column a dimension."""
    values = activation.values
    if values.ndim == 2:
        heads: list[object] = [activation.head if activation.head is not None else "all"]
        values = values[None]
    else:
        heads = list(range(len(values)))
    n_heads, length, width = values.shape
    index = pd.DataFrame({"head": np.repeat(np.array(heads, dtype=object), length)})
    index["position"] = np.tile(np.arange(length), n_heads)
    numbers = pd.DataFrame(values.reshape(-1, width), columns=[f"x{i}" for i in range(width)])
    return pd.concat([index, numbers], axis=1)


@draws(Logits, "frame")
def logits_frame(logits: Logits) -> pd.DataFrame:
    """One line a token id, the highest logit first."""
    order = np.argsort(-logits.values, kind="stable")
    ranks = np.arange(1, len(order) + 1)
    return pd.DataFrame({"rank": ranks, "token_id": order, "logit": logits.values[order]})


@draws(Shares, "figure")
def shares_figure(shares: Shares, dark: bool = False) -> go.Figure:
    """Attention's share above, the MLP's below; blank where the share is undefined."""
    layers, length = shares.attention.shape
    parallel = shares.block == "parallel"
    titles = (f"attention, of {'block output' if parallel else 'the stream after attention'}", "MLP, of block output")
    figure = make_subplots(rows=2, cols=1, subplot_titles=titles, vertical_spacing=0.16, shared_xaxes=False)
    shown = {t.position: plotly_text(t.shown) for t in shares.tokens}
    places = [f"position {p} {shown.get(p, '')}".rstrip() for p in range(length)]
    for place, (name, values) in enumerate((("attention", shares.attention), ("mlp", shares.mlp)), start=1):
        low, high, scale = _share_range(values, name)
        hover = [
            [f"layer {layer} · {at}: {share(float(v))}" for at, v in zip(places, row, strict=True)]
            for layer, row in enumerate(values)
        ]
        bar = colour_bar("share", len=0.42, y=0.79 if place == 1 else 0.21, tickformat=".0%")
        figure.add_trace(cell_map(values, hover, scale, dark, (low, high), bar), row=place, col=1)
        figure.update_yaxes(title_text="layer", dtick=max(1, layers // 12), row=place, col=1)
    figure.update_xaxes(**token_ticks(shares.tokens, length))
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    width = max(640, min(1600, 200 + 42 * length))
    return style_figure(
        figure, f"Shares by {shares.measure.label}", dark=dark, width=width, height=260 + 2 * min(400, 26 * layers)
    )


def _share_range(values: np.ndarray, hue: str) -> tuple[float, float, str]:
    finite = values[np.isfinite(values)]
    if finite.size and (finite.min() < 0 or finite.max() > 1):
        most = max(1.0, float(np.abs(finite).max()))
        return -most, most, "diverging"
    return 0.0, 1.0, hue


@draws(Shares, "frame")
def shares_frame(shares: Shares) -> pd.DataFrame:
    """One line a layer and position: the shares of attention and MLP, and what is left for the stream."""
    layers, length = shares.attention.shape
    shown = {t.position: printable(t.shown) for t in shares.tokens}
    names = ("attention", "residual_attention", "mlp", "residual_mlp")
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(layers), length),
            "position": np.tile(np.arange(length), layers),
            "token": [shown.get(p, "") for p in range(length)] * layers,
            "measure": str(shares.measure),
            **{name: getattr(shares, name).reshape(-1) for name in names},
        }
    )
