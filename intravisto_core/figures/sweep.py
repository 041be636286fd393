"""A sweep of ablations as a page, a Plotly figure and a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.page import component_page
from intravisto_core.figures.plots import colour_bar, plotly_scale, style_figure
from intravisto_core.figures.sweep_words import name_part, write_about, write_sentence
from intravisto_core.figures.text import plotly_text, printable
from intravisto_core.figures.web.sweep_payload import QUESTION, sweep_data
from intravisto_core.records import SweepGrid

LINES = (
    "Each cell is a run of the model without one part. Hatched cells lie below the noise floor: rounding alone could "
    "make their change.",
    "Parts that stand in for each other look needless one by one.",
)


@draws(SweepGrid, "page")
def sweep_page(grid: SweepGrid, beside: Sequence[SweepGrid] = (), prompt: int | None = None) -> str:
    """A sweep as on the page of the app. beside: sweeps of the same prompts. prompt: one of them alone."""
    about = f"{grid.model} · {write_sentence(grid)}"
    return component_page(QUESTION, printable(about), {"patching": sweep_data([grid, *beside], prompt)}, LINES)


@draws(SweepGrid, "frame")
def sweep_frame(grid: SweepGrid) -> pd.DataFrame:
    """One line a cell: mean effect in logits, whether it counts, its interval, and the effect in each prompt."""
    row, column = np.indices(grid.effect.shape).reshape(2, -1)
    place = {} if grid.heads is None else {"head": grid.heads[column]}
    numbers: dict[str, np.ndarray] = {"effect": grid.effect.ravel(), "counts": grid.counts.ravel()}
    if grid.interval is not None:
        numbers |= {"from": grid.interval[0].ravel(), "to": grid.interval[1].ravel()}
    each = {} if len(grid.prompts) == 1 else {f"prompt {i}": e.ravel() for i, e in enumerate(grid.effects)}
    return pd.DataFrame({"layer": grid.layers[row], "part": str(grid.what), **place, **numbers, **each})


@draws(SweepGrid, "figure")
def sweep_figure(grid: SweepGrid, dark: bool = False) -> go.Figure:
    """Layers up, heads across, on a scale around 0; a bar a layer where there is one column."""
    rows, columns = grid.effect.shape
    most = max(1e-9, float(np.nanmax(np.abs(grid.effect), initial=0.0)))
    hover = [
        [f"{plotly_text(name_part(grid, r, c))}: {grid.effect[r, c]:+.3g}" for c in range(columns)] for r in range(rows)
    ]
    names = ["all"] if grid.heads is None else [str(int(h)) for h in grid.heads]
    figure = go.Figure(
        go.Heatmap(
            z=grid.effect,
            x=names,
            y=[str(layer) for layer in grid.layers],
            zmin=-most,
            zmax=most,
            colorscale=plotly_scale("diverging", dark),
            colorbar=colour_bar("change, logits"),
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    figure.update_xaxes(title_text="" if grid.heads is None else "head", type="category")
    figure.update_yaxes(title_text="layer", type="category")
    title = printable(write_about(grid))
    width, height = max(640, min(1600, 240 + 42 * columns)), 150 + min(900, 24 * rows)
    return style_figure(figure, plotly_text(title), dark=dark, width=width, height=height)
