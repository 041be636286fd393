"""Readings of one cell, and of one token over all cells, as Plotly figures and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import probability, share
from intravisto_core.figures.plots import plotly_scale, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import ATTENTION, DARK, LIGHT, MLP, RESIDUAL
from intravisto_core.records import CellShares, NextTokens, TokenQuery, UpdateTokens, row_label
from intravisto_core.sites import Component


def _labels(ids: np.ndarray, shown: dict[int, str]) -> list[str]:
    """Axis labels of tokens; a number in front keeps equal-looking tokens apart."""
    return [f"{i + 1}  {plotly_text(shorten(shown[int(t)], 18))}" for i, t in enumerate(ids)]


@draws(UpdateTokens, "figure")
def update_figure(update: UpdateTokens, dark: bool = False) -> go.Figure:
    """Promoted tokens at the left, suppressed ones at the right, as bars of their change of logit."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=("promoted", "suppressed"), horizontal_spacing=0.2)
    shown = dict(update.shown)
    colour = ATTENTION if update.component is Component.ATTENTION else MLP
    sides = (
        (update.promoted_ids, update.promoted, update.promoted_before, update.promoted_after),
        (update.suppressed_ids, update.suppressed, update.suppressed_before, update.suppressed_after),
    )
    for column, (ids, change, before, after) in enumerate(sides, start=1):
        ranks = [f"rank {b:,} → {a:,}" for b, a in zip(before, after, strict=True)]
        bars = go.Bar(
            x=change,
            y=_labels(ids, shown),
            text=ranks,
            orientation="h",
            marker={"color": colour},
            hovertemplate="%{y}: %{x:.3g} · %{text}<extra></extra>",
        )
        figure.add_trace(bars, row=1, col=column)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="change of logit")
    title = f"What {update.component.label} wrote at layer {update.row - 1}, position {update.position}"
    height = 150 + 22 * len(update.promoted_ids)
    return style_figure(figure.update_layout(showlegend=False), title, dark=dark, width=900, height=height, above=80)


@draws(UpdateTokens, "frame")
def update_frame(update: UpdateTokens) -> pd.DataFrame:
    """One line a token: list, id, token, change of logit, ranks before and after."""
    tables = []
    for name in ("promoted", "suppressed"):
        ids = getattr(update, f"{name}_ids")
        tables.append(
            pd.DataFrame(
                {
                    "list": name,
                    "token_id": ids,
                    "token": [printable(update.shown[int(i)]) for i in ids],
                    "change": getattr(update, name),
                    "rank_before": getattr(update, f"{name}_before"),
                    "rank_after": getattr(update, f"{name}_after"),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


@draws(CellShares, "figure")
def cell_shares_figure(shares: CellShares, dark: bool = False) -> go.Figure:
    """For each measure the shares at both junctions, as stacked bars (signed ones beside each other)."""
    table = cell_shares_frame(shares)
    colours = {"stream": RESIDUAL, "attention": ATTENTION, "MLP": MLP}
    figure = go.Figure()
    for part, colour in colours.items():
        rows = table[table["part"] == part]
        bars = go.Bar(
            x=rows["share"],
            y=[f"{m} · {j}" for m, j in zip(rows["measure"], rows["junction"], strict=True)],
            text=[share(float(s)) for s in rows["share"]],
            name=part,
            orientation="h",
            marker={"color": colour},
            hovertemplate="%{y}, " + part + ": %{text}<extra></extra>",
        )
        figure.add_trace(bars)
    figure.update_layout(barmode="relative")
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".0%")
    title = f"Shares at layer {shares.row - 1}, position {shares.position}"
    return style_figure(
        figure, title, dark=dark, width=760, height=140 + 34 * table[["measure", "junction"]].drop_duplicates().shape[0]
    )


@draws(CellShares, "frame")
def cell_shares_frame(shares: CellShares) -> pd.DataFrame:
    """One line a measure, junction and part."""
    parallel = shares.block == "parallel"
    junctions = (
        (("block", (("stream", "residual_mlp"), ("attention", "attention"), ("MLP", "mlp"))),)
        if parallel
        else (
            ("attention joins", (("stream", "residual_attention"), ("attention", "attention"))),
            ("MLP joins", (("stream", "residual_mlp"), ("MLP", "mlp"))),
        )
    )
    return pd.DataFrame(
        [
            {"measure": str(m), "junction": junction, "part": part, "share": float(getattr(shares, name)[i])}
            for i, m in enumerate(shares.measures)
            for junction, parts in junctions
            for part, name in parts
        ]
    )


@draws(NextTokens, "figure")
def next_tokens_figure(tokens: NextTokens, dark: bool = False) -> go.Figure:
    """The model's own probabilities and the sampler's, side by side."""
    theme = DARK if dark else LIGHT
    labels = _labels(tokens.token_ids, dict(tokens.shown))
    figure = go.Figure()
    for name, values, colour in (("model", tokens.model, theme.muted), ("sampler", tokens.sampled, theme.accent)):
        text = [probability(float(v)) if v else share(0) for v in values]
        bars = go.Bar(x=values, y=labels, text=text, name=name, orientation="h", marker={"color": colour})
        figure.add_trace(bars.update(hovertemplate="%{y}: %{text}<extra>" + name + "</extra>"))
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".0%", title_text=f"probability; the sampler can draw {tokens.n_left:,} tokens")
    title = f"Next token after position {tokens.position}"
    return style_figure(figure, title, dark=dark, width=720, height=150 + 30 * len(labels))


@draws(NextTokens, "frame")
def next_tokens_frame(tokens: NextTokens) -> pd.DataFrame:
    """One line a token: id, token, the model's probability, the sampler's."""
    return pd.DataFrame(
        {
            "token_id": tokens.token_ids,
            "token": [printable(tokens.shown[int(i)]) for i in tokens.token_ids],
            "model": tokens.model,
            "sampled": tokens.sampled,
        }
    )


@draws(TokenQuery, "figure")
def query_figure(query: TokenQuery, dark: bool = False) -> go.Figure:
    """Rank of the token over rows and positions on a logarithmic scale; a cross where it first enters the top k."""
    n_rows = len(query.rank)
    labels = [row_label(r, n_rows - 2) for r in range(n_rows)]
    hover = [
        [
            f"{label} · position {p}: rank {rank:,}, {probability(float(chance))}"
            for p, rank, chance in zip(query.positions, ranks, chances, strict=True)
        ]
        for label, ranks, chances in zip(labels, query.rank, query.probability, strict=True)
    ]
    columns = list(range(len(query.positions)))
    map_of_ranks = go.Heatmap(
        z=-np.log10(np.where(query.rank > 0, query.rank, np.nan)),
        x=columns,
        y=labels,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        colorscale=plotly_scale("residual", dark),
        showscale=False,
        xgap=1,
        ygap=1,
    )
    entered = [c for c in columns if query.first_row[c] >= 0]
    crosses = go.Scatter(
        x=entered,
        y=[labels[int(query.first_row[c])] for c in entered],
        mode="markers",
        marker={"symbol": "cross", "size": 9, "color": (DARK if dark else LIGHT).ink},
        hoverinfo="skip",
        showlegend=False,
    )
    figure = go.Figure([map_of_ranks, crosses])
    ticks = token_ticks(query.tokens, int(query.positions.max()) + 1)
    at = {int(p): c for c, p in enumerate(query.positions)}
    kept = [(at[p], text) for p, text in zip(ticks["tickvals"], ticks["ticktext"], strict=True) if p in at]
    figure.update_xaxes(tickmode="array", tickvals=[c for c, _ in kept], ticktext=[t for _, t in kept], tickangle=-60)
    title = f"Rank of {query.shown}; crosses: enters the top {query.top_k}"
    width = max(560, min(1600, 220 + 40 * len(columns)))
    return style_figure(figure, title, dark=dark, width=width, height=200 + max(160, min(900, 26 * n_rows)))


@draws(TokenQuery, "frame")
def query_frame(query: TokenQuery) -> pd.DataFrame:
    """One line a position where the token enters the top k: row, rank and probability there, what wrote it."""
    inside = np.flatnonzero(query.first_row >= 0)
    rows = query.first_row[inside]
    return pd.DataFrame(
        {
            "position": query.positions[inside],
            "reads": [printable(query.tokens[int(c)].shown) for c in inside],
            "row": rows,
            "label": [row_label(int(r), len(query.rank) - 2) for r in rows],
            "rank": query.rank[rows, inside],
            "probability": query.probability[rows, inside],
            "writer": [query.writer[int(c)] for c in inside],
            "attention": query.attention[inside],
            "mlp": query.mlp[inside],
        }
    )
