"""One neuron or feature over several texts: shaded tokens, table, static figure."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import significant
from intravisto_core.figures.page import standalone_page
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.shaded_texts import STYLE, shade_texts
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.records import ActiveTexts

LONGEST = 60


@draws(ActiveTexts, "frame")
def active_frame(found: ActiveTexts) -> pd.DataFrame:
    """One line a token of a text; the texts in their order by the largest activation."""
    tables = [
        pd.DataFrame(
            {
                "text": each.number,
                "position": np.arange(len(each)),
                "token": [printable(t.shown) for t in each.tokens],
                "activation": each.activation,
            }
        )
        for each in found.texts
    ]
    return pd.concat(tables, ignore_index=True)


@draws(ActiveTexts, "figure")
def active_figure(found: ActiveTexts, dark: bool = False) -> go.Figure:
    """Bars: the largest activation in each text."""
    names = ["".join(t.text for t in each.tokens)[:LONGEST] for each in found.texts]
    figure = go.Figure(
        go.Bar(
            y=[f"{each.number}" for each in found.texts],
            x=[each.largest for each in found.texts],
            orientation="h",
            marker_color="#b5288f",
            text=[plotly_text(printable(name)) for name in names],
            hovertemplate="text %{y}: %{x:.3g}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", title_text="text")
    figure.update_xaxes(title_text="largest activation")
    height = max(300, 140 + 24 * len(found))
    return style_figure(figure, plotly_text(printable(found.part)), dark=dark, width=900, height=height)


@draws(ActiveTexts, "page")
def active_page(found: ActiveTexts) -> str:
    """Every text with its tokens shaded."""
    about = f'<p class="about">{escape(printable(f"{found.model} · {found.part}"))}</p>'
    largest = [f"largest {significant(each.largest)}" for each in found.texts]
    foot = "<footer><p>Shaded by activation on one scale for all texts; the darkest is the largest of all.</p></footer>"
    body = f"{about}\n{shade_texts(found, largest)}\n{foot}"
    return standalone_page("Where is it active?", STYLE, body, [])
