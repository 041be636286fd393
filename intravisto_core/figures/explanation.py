"""An explanation: its card, its numbers as a table, and a static figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.explanation_words import find_moments, name_part, show_metric
from intravisto_core.figures.numbers import change
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.theme import ATTENTION, LIGHT, MLP
from intravisto_core.figures.web.explain_payload import explain_data
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Explanation
from intravisto_core.sites import ExplainTest, Part

# of the chart of the parts: its width, that of a character of its numbers, and the most of it that they take
CHART_PX, CHARACTER_PX, MOST_WORDS, MARGIN = 440, 7.5, 0.6, 0.05

LINES = (
    "“Adds” is bookkeeping: a part's direct effect on the logit, at the final norm's scale in this run. What it "
    "prepares for later layers is not counted. “Without it” and “if hidden” are tests: runs of the model.",
    "The shade of a word is the sum, over all layers and heads, of the sizes of what they bring from it to this token. "
    "Attention sinks (position 0, and others that are found), where heads look that have nothing to do, are set aside.",
)


def question(found: Explanation) -> str:
    """The question that the card answers: `Where does ␣Paris come from?`."""
    return f"Where does {printable(found.target)} come from?"


@draws(Explanation, "page")
def explanation_page(found: Explanation) -> str:
    """The card, as on the page of the app."""
    against = f" · against {found.contrast}" if found.has_contrast else ""
    about = f"{found.model} · after position {found.position}{against}"
    lines = [*LINES, *map(as_sentence, found.notes)]
    return component_page(question(found), about, {"explain": explain_data(found)}, lines)


@draws(Explanation, "frame")
def explanation_frame(found: Explanation) -> pd.DataFrame:
    """All numbers as one table: parts, words and readings, told apart by `section`."""
    hidden, n = found.hidden, found.position + 1
    parts = {
        "section": "part",
        "name": [printable(name_part(found, i)) for i in range(len(found.part_value))],
        "kind": found.part_kind,
        "layer": found.part_layer,
        "index": found.part_index,
        "value": found.part_value,
        "test": found.without,
    }
    words = {
        "section": "word",
        "name": [printable(t.shown) for t in found.tokens[:n]],
        "kind": str(ExplainTest.WORD),
        "layer": -1,
        "index": np.arange(n),
        "value": found.source[:n],
        "test": hidden[:n],
    }
    rises = {
        "section": "reading",
        "name": printable(found.target),
        "kind": found.stream_half,
        "layer": found.stream_row - 1,
        "index": -1,
        "value": found.stream_probability,
        "rank": found.rank,
    }
    rest: dict[str, object] = {"section": "part", "name": "remainder", "kind": "remainder", "layer": -1, "index": -1}
    tables = [
        pd.DataFrame(parts),
        pd.DataFrame([rest | {"value": found.remainder}]),
        *map(pd.DataFrame, (words, rises)),
    ]
    table = pd.concat(tables, ignore_index=True)
    table["rank"] = table["rank"].astype("Int64")
    return table


@draws(Explanation, "figure")
def explanation_figure(found: Explanation, dark: bool = False) -> go.Figure:
    """Three charts: what heads bring from each word, the rank on its way up, the largest parts."""
    figure = make_subplots(rows=2, cols=2, specs=[[{"colspan": 2}, None], [{}, {}]], vertical_spacing=0.2)
    _draw_words(figure, found)
    _draw_rise(figure, found)
    _draw_parts(figure, found)
    figure.update_layout(showlegend=False)
    return style_figure(figure, question(found), dark=dark, width=1080, height=660)


def _draw_words(figure: go.Figure, found: Explanation) -> None:
    kept = [j for j in range(found.position) if j not in found.sinks]
    bars = go.Bar(
        x=[f"{j}  {plotly_text(found.tokens[j].shown)}" for j in kept],
        y=found.source[kept],
        marker={"color": LIGHT.accent},
        hovertemplate="%{x}: %{y:.3g}<extra></extra>",
    )
    figure.add_trace(bars, row=1, col=1)
    figure.update_yaxes(title_text="heads bring (logits)", row=1, col=1)


def _draw_rise(figure: go.Figure, found: Explanation) -> None:
    steps = np.arange(len(found.rank))
    line = go.Scatter(
        x=steps, y=found.rank, mode="lines", line={"color": LIGHT.accent}, hovertemplate="rank %{y}<extra></extra>"
    )
    figure.add_trace(line, row=2, col=1)
    moments = find_moments(found)
    points = go.Scatter(
        x=[m.step for m in moments],
        y=[m.rank_after for m in moments],
        mode="markers+text",
        text=[f"{m.what}: layer {m.layer}" for m in moments],
        textposition="middle left",
        marker={"size": 9, "color": LIGHT.accent},
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_trace(points, row=2, col=1)
    figure.update_yaxes(type="log", autorange="reversed", title_text="rank", row=2, col=1)
    ends = np.flatnonzero(np.diff(found.stream_row, append=found.stream_row[-1] + 1))
    every = max(1, -(-len(ends) // 8))
    names = ["embeddings" if r == 0 else str(r - 1) for r in found.stream_row[ends]]
    figure.update_xaxes(tickvals=ends[::every], ticktext=names[::every], title_text="after layer", row=2, col=1)


def _draw_parts(figure: go.Figure, found: Explanation) -> None:
    listed = found.word_part[::-1].tolist()
    labels = [name_part(found, i) for i in listed]
    texts = []
    for i in listed:
        without = float(found.without[i])
        tested = "" if np.isnan(without) else f" · without it {plotly_text(show_metric(found, without))}"
        texts.append(f"{change(float(found.part_value[i]))}{tested}")
    values = found.part_value[listed].astype(float)
    bars = go.Bar(
        x=values,
        y=labels,
        orientation="h",
        marker={"color": [ATTENTION if found.part_kind[i] == Part.HEAD else MLP for i in listed]},
        customdata=texts,
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )
    figure.add_trace(bars, row=2, col=2)
    spaced = [f"\u00a0{text}" for text in texts]
    # all numbers at the right of zero: left of a bar they would lie on its name
    said = go.Scatter(
        x=np.maximum(values, 0),
        y=labels,
        mode="text",
        text=spaced,
        textposition="middle right",
        hoverinfo="skip",
    )
    figure.add_trace(said, row=2, col=2)
    figure.update_xaxes(title_text="adds to the logit", range=find_range(values, spaced), row=2, col=2)


def find_range(values: np.ndarray, texts: Sequence[str]) -> tuple[float, float]:
    """The range of a chart of bars that has room at its right for the numbers that begin where the bars end."""
    low, high = min(0.0, float(values.min(initial=0))), max(0.0, float(values.max(initial=0)))
    if low == high:
        high = 1.0
    share = min(MOST_WORDS, CHARACTER_PX * max(map(len, texts), default=0) / CHART_PX)
    low -= MARGIN * (high - low)
    return low, (high - share * low) / (1 - share)
