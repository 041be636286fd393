"""A finding that was tested again: before and now, as page, table and static figure."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.evidence_words import write_retest
from intravisto_core.figures.numbers import change, significant
from intravisto_core.figures.page import standalone_page
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.records import Evidence, Retest

STYLE = """
.evidence td, .evidence th { text-align: right; padding: 2px 10px; }
.evidence td:first-child { text-align: left; }
"""


@draws(Retest, "figure")
def retest_figure(found: Retest, *, dark: bool = False, width: int = 900) -> go.Figure:
    """What the edit does beyond its control, before and now, each with its interval."""
    theme, both = DARK if dark else LIGHT, (found.before, found.now)
    means = [each.mean_difference for each in both]
    high, low = ([each.interval[end] for each in both] for end in (1, 0))
    figure = go.Figure()
    figure.add_scatter(
        x=means,
        y=[0, 1],
        mode="markers",
        marker={"size": 11, "color": theme.accent},
        error_x={
            "array": np.nan_to_num(np.subtract(high, means)),
            "arrayminus": np.nan_to_num(np.subtract(means, low)),
            "color": theme.accent,
        },
        customdata=[plotly_text(str(each.verdict)) for each in both],
        hovertemplate="%{customdata}: %{x:.3g} logits<extra></extra>",
        showlegend=False,
    )
    title = "The claim holds" if found.holds else "The claim does not hold"
    style_figure(figure, title, dark=dark, width=width, height=220, above=56)
    figure.add_vline(x=0, line={"color": theme.rule, "width": 1})
    names = [plotly_text(f"{when}: {each.model}") for when, each in zip(("before", "now"), both, strict=True)]
    figure.update_yaxes(tickvals=[0, 1], ticktext=names, range=[1.5, -0.5])
    figure.update_xaxes(title={"text": "logits by which the edit does more than its control, 95 % interval"})
    return figure


@draws(Retest, "frame")
def retest_frame(found: Retest) -> pd.DataFrame:
    """One row for before, one for now."""
    both = (found.before, found.now)
    return pd.DataFrame(
        {
            "when": ["before", "now"],
            "model": [printable(each.model) for each in both],
            "verdict": [str(each.verdict) for each in both],
            "n": [each.n for each in both],
            "n_new": [each.n_new for each in both],
            "mean_effect": [each.mean_effect for each in both],
            "mean_difference": [each.mean_difference for each in both],
            "low": [each.interval[0] for each in both],
            "high": [each.interval[1] for each in both],
            "control": [str(each.control) for each in both],
            "rank": [each.rank for each in both],
        }
    )


@draws(Retest, "page")
def retest_page(found: Retest) -> str:
    """Whether it holds, in words, and the table of the new test."""
    body = f"<p>{escape(write_retest(found))}</p>\n{_table(found.now)}"
    title = "The claim holds" if found.holds else "The claim does not hold"
    return standalone_page(title, STYLE, body, [])


def _table(found: Evidence) -> str:
    heads = ["prompt", "edit", *(kind.label for kind in found.kinds), "more than control"]
    rows = "".join(_row(found, i) for i in range(found.n))
    return f'<table class="evidence"><tr>{"".join(f"<th>{escape(h)}</th>" for h in heads)}</tr>{rows}</table>'


def _row(found: Evidence, i: int) -> str:
    own = " ◆" if found.is_discovery[i] else ""
    numbers = [found.effects[i], *found.control_means[i], found.differences[i]]
    words = [change(numbers[0]), *map(significant, numbers[1:-1]), change(numbers[-1])]
    cells = "".join(f"<td>{escape(word)}</td>" for word in words)
    return f"<tr><td>{escape(printable(found.prompts[i]))}{own}</td>{cells}</tr>"
