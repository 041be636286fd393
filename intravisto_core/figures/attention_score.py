"""Why a head looks there, as Plotly figures and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import probability, significant
from intravisto_core.figures.plots import cell_map, colour_bar, style_figure
from intravisto_core.figures.theme import ATTENTION
from intravisto_core.records import AttentionCut, AttentionScore

DRAWN = 12  # parts at each end; the others are one


def largest_parts(names: tuple[str, ...], sums: np.ndarray, most: int) -> list[np.ndarray]:
    """Parts in their order, the largest each alone, all others together as the last."""
    if len(names) <= most:
        return [np.array([i]) for i in range(len(names))]
    kept = np.sort(np.argsort(-np.abs(sums), kind="stable")[: most - 1])
    return [*(np.array([i]) for i in kept), np.setdiff1d(np.arange(len(names)), kept)]


@draws(AttentionScore, "figure")
def attention_score_figure(score: AttentionScore, parts: int = DRAWN, dark: bool = False) -> go.Figure:
    """Parts at the query down, at the key across; parts: how many at each end, the smaller ones are one."""
    matrix, rows, columns = _fold(score, parts)
    most = max(1e-9, float(np.abs(matrix).max()))
    hover = [
        [f"{row} × {column}: {significant(float(v))}" for column, v in zip(columns, line, strict=True)]
        for row, line in zip(rows, matrix, strict=True)
    ]
    figure = go.Figure(cell_map(matrix, hover, "diverging", dark, (-most, most), colour_bar("score")))
    for axes, names in ((figure.update_xaxes, columns), (figure.update_yaxes, rows)):
        axes(tickmode="array", tickvals=list(range(len(names))), ticktext=names)
    figure.update_xaxes(title_text=f"part at key {score.key}", side="top", tickangle=-60)
    figure.update_yaxes(title_text=f"part at query {score.query}", autorange="reversed")
    title = f"L{score.layer}H{score.head}, {score.query} → {score.key}: {significant(score.total)}"
    width, height = 320 + 32 * len(columns), 260 + 28 * len(rows)
    return style_figure(figure, title, dark=dark, width=width, height=height, above=150)


def _fold(score: AttentionScore, most: int) -> tuple[np.ndarray, list[str], list[str]]:
    def named(names: tuple[str, ...], groups: list[np.ndarray]) -> list[str]:
        return [names[g[0]] if len(g) == 1 else f"{len(g)} others" for g in groups]

    rows = largest_parts(score.query_parts, score.matrix.sum(1), max(2, most))
    columns = largest_parts(score.key_parts, score.matrix.sum(0), max(2, most))
    matrix = np.array([[score.matrix[np.ix_(r, c)].sum() for c in columns] for r in rows])
    return matrix, named(score.query_parts, rows), named(score.key_parts, columns)


@draws(AttentionScore, "frame")
def attention_score_frame(score: AttentionScore) -> pd.DataFrame:
    """One line a pair of parts; then one line for each addition that is no product, without a part at the query."""
    row, column = np.indices(score.matrix.shape).reshape(2, -1)
    pairs = pd.DataFrame(
        {
            "query_part": np.array(score.query_parts, dtype=object)[row],
            "key_part": np.array(score.key_parts, dtype=object)[column],
            "score": score.matrix.ravel(),
        }
    )
    added = {"query_part": "", "key_part": list(score.added), "score": list(score.added.values())}
    return pd.concat([pairs, pd.DataFrame(added)], ignore_index=True) if score.added else pairs


def _weights(cut: AttentionCut) -> dict[str, float]:
    found = {"as it was": cut.weight, "predicted": cut.predicted, "measured": cut.measured, "total": cut.total}
    return {name: value for name, value in found.items() if value is not None}


@draws(AttentionCut, "figure")
def attention_cut_figure(cut: AttentionCut, dark: bool = False) -> go.Figure:
    """A bar for each of the weights."""
    found = _weights(cut)
    bars = go.Bar(
        x=list(found),
        y=list(found.values()),
        text=[probability(v) for v in found.values()],
        marker={"color": ATTENTION},
        hovertemplate="%{x}: %{text}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title_text="attention")
    title = f"L{cut.layer}H{cut.head}, {cut.query} → {cut.key}, without {cut.part} at the {cut.end.label}"
    return style_figure(figure, title, dark=dark, width=520, height=360)


@draws(AttentionCut, "frame")
def attention_cut_frame(cut: AttentionCut) -> pd.DataFrame:
    """One line for each of the weights."""
    found = _weights(cut)
    return pd.DataFrame({"what": list(found), "attention": list(found.values())})
