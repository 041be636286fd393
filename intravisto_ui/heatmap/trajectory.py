"""How chosen tokens fare over the layers at one position: a line each, probability or rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import probability
from intravisto_core.records import DecodedGrid, Watched, row_label
from intravisto_core.request import HeatmapView
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.theme import INK, LINES, read_theme, short_row_label
from intravisto_ui.session import jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST = 5
MODE_BAR = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "tokens-over-layers"},
}
MARKERS = ("circle", "square", "diamond", "triangle-up", "x")


def choose_pins(workspace: Workspace, shown: Shown, grid: DecodedGrid, position: int) -> dict[int, str]:
    """Token id → colour of its line. Until the user chooses: what the text goes on with, and the cell's top two."""
    chosen = workspace.pins.get(position)
    if chosen is None:
        tokens = shown.trace.tokens
        following = [tokens[position + 1].id] if position + 1 < len(tokens) else []
        top = [int(i) for i in grid.token_ids[0, 0, :2] if i >= 0]
        chosen = list(dict.fromkeys(following + top))[:3]
    return dict(zip(chosen, LINES[read_theme()], strict=False))


def toggle_pin(workspace: Workspace, position: int, now: list[int], token_id: int) -> None:
    """Put a token's line into the chart, or take it out."""
    workspace.pins[position] = [i for i in now if i != token_id] if token_id in now else [*now, token_id][-MOST:]


def draw(workspace: Workspace, shown: Shown, pinned: dict[int, str], row: int, position: int) -> None:
    """The chart, with its switch between probability and rank."""
    head = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="linehead")
    head.html('<div class="cap">Block output, over the layers</div>')
    how = draw_kept(
        head.segmented_control,
        "scale",
        key="line_scale",
        default="probability",
        valid=lambda v: v in ("probability", "rank"),
        options=["probability", "rank"],
        required=True,
        label_visibility="collapsed",
    )
    n_layers = shown.engine.model.n_layers
    lines = _watch_pins(workspace, shown, pinned, position)
    labels = [row_label(r, n_layers) for r in range(n_layers + 2)]
    figure = build_chart([(w, pinned[w.token_id]) for w in lines], labels, row, how, read_theme())
    st.plotly_chart(figure, key="lines", theme=None, width="stretch", config=MODE_BAR)


def _watch_pins(workspace: Workspace, shown: Shown, pinned: dict[int, str], position: int) -> tuple[Watched, ...]:
    """The pinned tokens over all rows."""
    view = HeatmapView(shown.trace.id, positions=(position,), top_k=1, watch=tuple(pinned))
    return jobs.compute_view(shown.engine, view, workspace.id, "lines").watch


def build_chart(lines: list[tuple[Watched, str]], labels: list[str], row: int, how: str, mode: str) -> go.Figure:
    """A line for each watched token over all rows (each `Watched` of shape (rows, 1)); `row` is marked."""
    import plotly.graph_objects as go

    drawn = [_line(watched, colour, k, labels, how) for k, (watched, colour) in enumerate(lines)]
    # built at once: line by line, Plotly checks all of it again each time, which was half of what a click took
    return go.Figure({"data": drawn, "layout": _layout(labels, row, how, mode)})


def _line(watched: Watched, colour: str, k: int, labels: list[str], how: str) -> dict[str, Any]:
    y = watched.probability[:, 0] if how == "probability" else np.maximum(watched.rank[:, 0], 1)
    hover = [
        (name, probability(float(p)), f"{int(r):,}")
        for name, p, r in zip(labels, watched.probability[:, 0], watched.rank[:, 0], strict=True)
    ]
    return {
        "type": "scatter",
        "x": list(range(len(labels))),
        "y": y,
        "mode": "lines+markers" if len(labels) <= 18 else "lines",
        "name": escape_for_plotly(watched.shown),
        "line": {"color": colour, "width": 2},
        "marker": {"size": 5, "symbol": MARKERS[k % MOST]},
        "customdata": hover,
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}, rank %{customdata[2]}<extra>%{fullData.name}</extra>",
    }


def _layout(labels: list[str], row: int, how: str, mode: str) -> dict[str, Any]:
    ink, muted, rule = INK[mode]
    rows = list(range(len(labels)))
    every = max(1, -(-len(rows) // 9))
    mark = {"type": "line", "x0": row, "x1": row, "y0": 0, "y1": 1, "yref": "y domain"}
    return {
        "shapes": [{**mark, "line": {"color": ink, "width": 1, "dash": "dot"}}],
        "height": 178,
        "margin": {"l": 38, "r": 8, "t": 26, "b": 24},
        "dragmode": False,
        "showlegend": True,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": ink},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "x": 0,
            "itemclick": False,
            "font": {"size": 12, "color": ink},
        },
        "font": {"size": 11, "color": muted, "family": '"Source Sans", sans-serif'},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {
            "tickvals": rows[::every],
            "ticktext": [short_row_label(labels[r]) for r in rows[::every]],
            "tickangle": 0,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "linecolor": rule,
        },
        "yaxis": {"fixedrange": True, "gridcolor": rule, "zeroline": False, **_scale(how)},
    }


def escape_for_plotly(text: str) -> str:
    """Token text for Plotly, which reads a few tags and entities: shown as it is."""
    return escape_html(text).replace("$", "&#36;")


def _scale(how: str) -> dict[str, Any]:
    if how == "probability":
        return {"range": [-0.03, 1.05], "tickvals": [0, 0.5, 1], "ticktext": ["0", "50 %", "100 %"]}
    return {
        "type": "log",
        "autorange": "reversed",
        "tickvals": [1, 10, 100, 1000, 10000, 100000],
        "ticktext": ["1", "10", "100", "1 k", "10 k", "100 k"],
    }
