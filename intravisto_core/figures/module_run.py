"""Runs of a module, the flow in it, and what was measured: tables and static figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.plots import plotly_scale, style_figure
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import RESIDUAL
from intravisto_core.records import ModuleFlow, ModuleOutput, ModuleRun
from intravisto_core.sites import ModuleStatistic

MOST_BARS = 40
MOST_PANELS = 16
AXES = {ModuleStatistic.MATRIX: ("spread", "y", "x"), ModuleStatistic.ATTENTION: ("head", "query", "key")}
SUMMARY = ("mean", "standard deviation", "least", "largest", "share of zeros", "no numbers")


@draws(ModuleRun, "frame")
def run_frame(run: ModuleRun) -> pd.DataFrame:
    """One row a module that ran, in the order of first calls."""
    rows = [
        {
            "path": call.path,
            "order": call.order,
            "calls": call.n_calls,
            "ms": 1000 * call.seconds,
            "input": "; ".join(f"{name}: {shape}" for name, shape in call.inputs),
            "output": "" if call.output is None else str(call.output),
        }
        for call in run.calls
    ]
    return pd.DataFrame(rows)


@draws(ModuleRun, "figure")
def run_figure(run: ModuleRun, dark: bool = False) -> go.Figure:
    """The modules that took longest, what they call included."""
    slowest = sorted(run.calls, key=lambda call: call.seconds)[-MOST_BARS:]
    bars = go.Bar(
        x=[1000 * call.seconds for call in slowest],
        y=[plotly_text(shorten(call.path or "the whole", 60)) for call in slowest],
        orientation="h",
        marker={"color": RESIDUAL},
        hovertemplate="%{y}: %{x:.3g} ms<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(title_text="ms, what it calls included")
    return style_figure(figure, "Time in each module", dark=dark, width=900, height=160 + 18 * len(slowest))


@draws(ModuleFlow, "frame")
def flow_frame(flow: ModuleFlow) -> pd.DataFrame:
    """One row a link: scope, source, target, kind. Modules by path, operations by name."""
    rows = [(link.scope, link.source, link.target, str(link.kind)) for link in flow.links]
    return pd.DataFrame(rows, columns=["scope", "source", "target", "kind"])


@draws(ModuleFlow, "figure")
def flow_figure(flow: ModuleFlow, dark: bool = False) -> go.Figure:
    """The links as a table."""
    table = flow_frame(flow).map(lambda text: plotly_text(str(text)))
    cells = {"values": [table[name] for name in table], "align": "left"}
    figure = go.Figure(go.Table(header={"values": list(table), "align": "left"}, cells=cells))
    return style_figure(figure, "What is handed to what", dark=dark, width=1100, height=560)


@draws(ModuleOutput, "frame")
def output_frame(found: ModuleOutput) -> pd.DataFrame:
    """One row a number."""
    values = found.values
    if found.statistic is ModuleStatistic.SUMMARY:
        return pd.DataFrame({"path": found.path, "name": SUMMARY, "value": values})
    if found.edges is not None:
        return pd.DataFrame(
            {"path": found.path, "from": found.edges[:-1], "to": found.edges[1:], "count": values.astype(int)}
        )
    if found.token_ids is not None:
        positions, numbers = np.indices(values.shape)
        shown = [found.shown[int(i)] for i in found.token_ids.ravel()]
        columns = {"position": found.first + positions.ravel(), "place": numbers.ravel() + 1, "token": shown}
        return pd.DataFrame({"path": found.path, **columns, "probability": values.ravel()})
    places = np.indices(values.shape).reshape(values.ndim, -1)
    names = AXES.get(found.statistic)
    columns = {names[i] if names else f"axis {i}": axis for i, axis in enumerate(places)}
    return pd.DataFrame({"path": found.path, **columns, "value": values.ravel()})


@draws(ModuleOutput, "figure")
def output_figure(found: ModuleOutput, dark: bool = False) -> go.Figure:
    """Bars, or the matrix as a picture, its spread dimension side by side."""
    title = f"{found.path or 'the whole'}, {found.what}: {found.statistic.label}"
    if found.statistic is ModuleStatistic.TOKENS:
        return _draw_tokens(found, title, dark)
    if found.statistic in AXES:
        panels = found.values[:MOST_PANELS]
        figure = make_subplots(rows=1, cols=len(panels), shared_yaxes=True, horizontal_spacing=0.01)
        most = float(np.nanmax(np.abs(panels))) if panels.size else 1.0
        scale = {"colorscale": plotly_scale("diverging", dark), "zmin": -most, "zmax": most}
        for i, panel in enumerate(panels, 1):
            figure.add_trace(go.Heatmap(z=panel, showscale=i == len(panels), **scale), row=1, col=i)
        figure.update_yaxes(autorange="reversed")
        return style_figure(figure, title, dark=dark, width=900, height=460)
    if found.statistic is ModuleStatistic.SUMMARY:
        x: list[str] = list(SUMMARY)
    elif found.edges is not None:
        x = [f"{low:.3g} to {high:.3g}" for low, high in zip(found.edges[:-1], found.edges[1:], strict=True)]
    else:
        x = [str(i) for i in range(found.values.size)]
        if len(found.tokens) == len(x):
            x = [f"{i} {plotly_text(printable(token))}" for i, token in enumerate(found.tokens)]
    figure = go.Figure(go.Bar(x=x, y=found.values.ravel(), marker={"color": RESIDUAL}))
    return style_figure(figure, title, dark=dark, width=900, height=420)


def _draw_tokens(found: ModuleOutput, title: str, dark: bool) -> go.Figure:
    """A row a position, its likeliest tokens from left to right."""
    ids = np.zeros(found.values.shape, int) if found.token_ids is None else found.token_ids
    words = [[plotly_text(printable(found.shown[int(i)])) for i in row] for row in ids]
    named = len(found.tokens) >= found.first + len(ids)
    rows = [
        f"{p} {plotly_text(printable(found.tokens[p]))}" if named else str(p)
        for p in range(found.first, found.first + len(ids))
    ]
    picture = go.Heatmap(
        z=found.values,
        y=rows,
        x=[str(k + 1) for k in range(ids.shape[1])],
        text=words,
        texttemplate="%{text}",
        colorscale=plotly_scale("residual", dark),
        zmin=0,
        zmax=1,
        hovertemplate="%{y}: %{text} %{z:.3g}<extra></extra>",
    )
    figure = go.Figure(picture)
    figure.update_yaxes(autorange="reversed")
    return style_figure(figure, title, dark=dark, width=900, height=160 + 24 * len(rows))
