"""The contribution-threshold graph: positions across, rows up; and as a page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import share
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import style_figure, token_ticks
from intravisto_core.figures.text import plotly_text
from intravisto_core.figures.theme import ATTENTION, DARK, LIGHT, MLP, RESIDUAL
from intravisto_core.figures.web.flow_graph_payload import graph_payload
from intravisto_core.figures.words import graph_caption, sinks_in_words, start_in_words, start_words
from intravisto_core.records import ContributionGraph, row_label

QUESTION = "Which contributions are large?"
_COLOURS = {"residual": RESIDUAL, "attention": ATTENTION, "mlp": MLP}
_WIDTHS = ((0.0, 0.8), (0.1, 1.6), (0.25, 2.6), (0.5, 4.0))


@draws(ContributionGraph, "figure")
def graph_figure(graph: ContributionGraph, dark: bool = False) -> go.Figure:
    """Edges by kind, wider where the share is larger; a square on a node where its MLP is over the threshold too."""
    figure = go.Figure()
    for kind, colour in _COLOURS.items():
        for step, (low, width) in enumerate(_WIDTHS):
            high = _WIDTHS[step + 1][0] if step + 1 < len(_WIDTHS) else np.inf
            chosen = (graph.edge_kind == kind) & (graph.edge_share >= low) & (graph.edge_share < high)
            if chosen.any():
                figure.add_trace(_lines(graph, chosen, colour, width))
    figure.add_trace(_middles(graph))
    figure.add_trace(_nodes(graph, dark))
    length, rows = len(graph.tokens), graph.rows
    figure.update_xaxes(range=[-0.7, length - 0.3], **token_ticks(graph.tokens, length))
    figure.update_yaxes(
        tickmode="array",
        tickvals=rows.tolist(),
        ticktext=[row_label(int(r), graph.n_layers) for r in rows],
        range=[rows.min() - 0.6, rows.max() + 0.6],
    )
    where = start_words(graph.row, graph.starts, graph.n_layers)
    title = f"Contributions of at least {share(graph.threshold)}, down from {where}"
    title = " · ".join(filter(None, (title, sinks_in_words(graph.sinks))))
    size = {"width": max(640, min(1900, 180 + 44 * length)), "height": max(360, min(1500, 160 + 34 * len(rows)))}
    return style_figure(figure.update_layout(showlegend=False), title, dark=dark, **size)


def _ends(graph: ContributionGraph, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of both ends, (E, 2) each."""
    ends = np.stack([graph.edge_source[chosen], graph.edge_target[chosen]], 1)
    return graph.node_position[ends], graph.node_row[ends]


def _lines(graph: ContributionGraph, chosen: np.ndarray, colour: str, width: float) -> go.Scatter:
    gap = np.full((int(chosen.sum()), 1), np.nan)
    x, y = (np.concatenate([ends, gap], 1).reshape(-1) for ends in _ends(graph, chosen))
    return go.Scatter(x=x, y=y, mode="lines", line={"color": colour, "width": width}, opacity=0.7, hoverinfo="skip")


def _middles(graph: ContributionGraph) -> go.Scatter:
    """Points in the middle of edges that hold their hover text: lines have none of their own."""
    x, y = _ends(graph, np.ones(len(graph.edge_share), bool))
    texts = [
        f"{kind}: position {a} → {b}, {row_label(int(r), graph.n_layers)}: {share(float(s))}"
        for kind, (a, b), (_, r), s in zip(graph.edge_kind, x.tolist(), y.tolist(), graph.edge_share, strict=True)
    ]
    return go.Scatter(
        x=x.mean(1),
        y=y.mean(1),
        mode="markers",
        marker={"size": 7, "opacity": 0},
        customdata=texts,
        hovertemplate="%{customdata}<extra></extra>",
    )


def _nodes(graph: ContributionGraph, dark: bool) -> go.Scatter:
    over = graph.node_mlp_over.astype(bool)
    texts = [
        f"<b>{row_label(int(r), graph.n_layers)}</b> · position {p} reads {plotly_text(graph.tokens[p].shown)}"
        + (f"<br>MLP {share(float(m))} of the block output" if np.isfinite(m) else "")
        + (f"<br>reads as {plotly_text(graph.shown[t])}" if t >= 0 else "")
        for r, p, m, t in zip(
            graph.node_row, graph.node_position, graph.node_mlp, graph.node_token.tolist(), strict=True
        )
    ]
    marker = {
        "size": 9,
        "symbol": np.where(over, "square", "circle"),
        "color": np.where(over, MLP, (DARK if dark else LIGHT).ink),
    }
    return go.Scatter(
        x=graph.node_position,
        y=graph.node_row,
        mode="markers",
        marker=marker,
        customdata=texts,
        hovertemplate="%{customdata}<extra></extra>",
    )


@draws(ContributionGraph, "frame")
def graph_frame(graph: ContributionGraph) -> pd.DataFrame:
    """One line an edge, the largest share first."""
    return pd.DataFrame(
        {
            "kind": graph.edge_kind,
            "source_row": graph.node_row[graph.edge_source],
            "source_position": graph.node_position[graph.edge_source],
            "target_row": graph.node_row[graph.edge_target],
            "target_position": graph.node_position[graph.edge_target],
            "share": graph.edge_share,
        }
    )


@draws(ContributionGraph, "page")
def graph_page(graph: ContributionGraph, scale: float = 1.0, heading: str = QUESTION) -> str:
    """The interactive contribution-threshold graph as a page."""
    where = f"from {start_in_words(graph.row, graph.starts, graph.n_layers)}"
    about = " · ".join(filter(None, (graph.model, where, sinks_in_words(graph.sinks))))
    payload = graph_payload(graph, scale, rev=graph.trace)
    return component_page(heading, about, {"flow_graph": payload}, graph_caption(graph))
