"""What a vector reads as that an edit puts in, as a Plotly figure and a table."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import probability
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.records import ReadBack


@draws(ReadBack, "figure")
def read_back_figure(found: ReadBack, dark: bool = False) -> go.Figure:
    """A table: at each position what stands there, and what the new vector reads back as."""
    theme = DARK if dark else LIGHT
    at = range(len(found.positions))
    before = [_word(found, int(found.ids_before[i]), float(found.probability_before[i])) for i in at]
    after = [_word(found, int(found.ids[i, 0]), float(found.probabilities[i, 0])) for i in at]
    reads = "raises most" if found.site.is_update else "reads back as"
    cells = {"values": [found.positions, before, after], "align": "left", "height": 26, "fill_color": theme.paper}
    head = {"values": ["position", "there now", f"the new vector {reads}"], "align": "left", "fill_color": theme.rule}
    font = {"color": theme.ink}
    figure = go.Figure(go.Table(header=head | {"font": font}, cells=cells | {"font": font}))
    height = 160 + 28 * min(40, len(found.positions))
    return style_figure(figure, plotly_text(found.edit), dark=dark, width=720, height=height)


def _word(found: ReadBack, token: int, p: float) -> str:
    sure = "" if p != p else f" ({probability(p)})"
    return plotly_text(shorten(found.shown[token], 24)) + sure


@draws(ReadBack, "frame")
def read_back_frame(found: ReadBack) -> pd.DataFrame:
    """One line a position: what stands there, what the new vector reads back as, and the token that was asked for."""
    return pd.DataFrame(
        {
            "position": found.positions,
            "before": [printable(found.shown[int(i)]) for i in found.ids_before],
            "probability_before": found.probability_before,
            "reads_back_as": [printable(found.shown[int(i)]) for i in found.ids[:, 0]],
            "probability": found.probabilities[:, 0],
            "asked": printable(found.shown[found.asked]) if found.asked >= 0 else "",
            "asked_rank": found.asked_rank,
            "asked_probability": found.asked_probability,
        }
    )
