"""How well predictors foretell what edits do: dots with intervals, and a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.plots import style_figure
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.records import MeasureTest

ROW = 20
TRUTHS = {"resample": "swapping a token", "knock_out": "hiding a token"}


@draws(MeasureTest, "frame")
def measure_test_frame(found: MeasureTest) -> pd.DataFrame:
    """One row a predictor and truth: means over the prompts, and the 95 % interval of the first."""
    means = {name: found.mean(name) for name in ("agreement", "inner", "partial", "top")}
    rows = []
    for n, predictor in enumerate(found.predictors):
        for k, truth in enumerate(found.truths):
            own = found.agreement[:, n, k]
            own = own[~np.isnan(own)]
            low, high = found.interval[:, n, k]
            row = {"predictor": predictor, "truth": truth, "mean": means["agreement"][n, k], "low": low, "high": high}
            rows.append(row | {name: means[name][n, k] for name in ("inner", "partial", "top")} | {"n": len(own)})
    return pd.DataFrame(rows)


@draws(MeasureTest, "figure")
def measure_test_figure(found: MeasureTest, *, dark: bool = False, width: int = 900) -> go.Figure:
    """A row a predictor, the best on top: the mean correlation with each truth, and its interval."""
    theme, frame = DARK if dark else LIGHT, measure_test_frame(found)
    first = frame[frame["truth"] == found.truths[0]].sort_values("mean", na_position="first")
    order = first["predictor"].tolist()
    figure = go.Figure()
    for truth, colour in zip(found.truths, (theme.accent, theme.muted), strict=False):
        own = frame[frame["truth"] == truth].set_index("predictor").loc[order]
        figure.add_scatter(
            x=own["mean"],
            y=order,
            mode="markers",
            marker={"size": 8, "color": colour},
            error_x={"array": own["high"] - own["mean"], "arrayminus": own["mean"] - own["low"], "color": colour},
            name=TRUTHS.get(truth, truth),
        )
    title = f"Which numbers foretell what edits do? {len(found.prompts)} prompts"
    style_figure(figure, title, dark=dark, width=width, height=160 + ROW * len(order), above=56)
    figure.add_vline(x=0, line={"color": theme.rule, "width": 1})
    figure.update_xaxes(title={"text": "rank correlation over the tokens of a prompt"})
    figure.update_layout(legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0})
    return figure
