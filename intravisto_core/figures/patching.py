"""A patching grid as a Plotly figure and as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import change, share
from intravisto_core.figures.page import component_page
from intravisto_core.figures.patching_words import describe_columns, describe_metric, ends_of, name_metric, show_metric
from intravisto_core.figures.plots import MOST_TICKS, colour_bar, plotly_scale, style_figure
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import DARK, LIGHT
from intravisto_core.figures.web.patching_payload import QUESTION, patching_data
from intravisto_core.records import PatchGrid

WRITTEN_FROM = 0.03
MOST_WRITTEN = 40
LINES = (
    "Each cell is a run of the model with values of the other prompt at one place. Hatched cells lie below the noise "
    "floor: rounding alone could make their change.",
    "What a place holds by itself is not all that there is: two places that carry the same thing both look needless.",
)


def describe_cell(grid: PatchGrid, row: int, column: int, name: str) -> str:
    """A cell in words: place, share, effect, and what the estimate says."""
    effect, place = float(grid.effect[row, column]), f"layer {grid.layers[row]} · {name}"
    if grid.skipped[row, column]:
        same = "the same tokens in both runs up to here" if grid.heads is None else "nothing that is read later"
        return f"{place}: 0, not run: {same if grid.layers[row] < grid.n_layers - 1 else 'it can change nothing'}"
    if np.isnan(effect):
        return f"{place}: not run yet"
    parts = [f"{share(float(grid.recovered[row, column]))} of the way", f"effect {change(effect)}"]
    if abs(effect) <= grid.noise_floor:
        parts.append("below the noise floor")
    if grid.estimate is not None:
        parts.append(f"estimate {change(float(grid.estimate[row, column]))}")
    return f"{place}: {', '.join(parts)}"


@draws(PatchGrid, "page")
def patching_page(grid: PatchGrid, beside: Sequence[PatchGrid] = (), prompt: int | None = None) -> str:
    """A grid as on the page of the app. beside: grids of the same prompts, drawn on the same layer axis. prompt: one of
    them alone; None is their mean.
    """
    if prompt is not None:
        grid, *beside = (each.choose_prompt(prompt) for each in (grid, *beside))
    receiver, base, donor, goal = ends_of(grid)
    about = (
        f"{grid.model} · {name_metric(grid)}: {show_metric(grid, base)} in the {receiver} run, "
        f"{show_metric(grid, goal)} in the {donor} one"
    )
    return component_page(QUESTION, printable(about), {"patching": patching_data([grid, *beside])}, LINES)


@draws(PatchGrid, "figure")
def patching_figure(grid: PatchGrid, colour: str = "recovered", dark: bool = False) -> go.Figure:
    """Layers up, positions or heads across, on a scale around 0. colour: "recovered", "effect" or "estimate".

    Cells below the noise floor and cells that need not run are grey.
    """
    values = {"recovered": grid.recovered, "effect": grid.effect, "estimate": grid.estimate}[colour]
    if values is None or (colour == "recovered" and not np.isfinite(values[~grid.skipped]).any()):
        values, colour = grid.effect, "effect"
    theme, names = DARK if dark else LIGHT, describe_columns(grid)
    seen = grid.counts if colour != "estimate" else ~grid.skipped
    hover = [
        [plotly_text(describe_cell(grid, row, column, name)) for column, name in enumerate(names)]
        for row in range(len(grid.layers))
    ]
    shown = np.where(seen & np.isfinite(values), values, np.nan)
    most = max(1e-9, float(np.nanmax(np.abs(shown), initial=0.0)))
    most = max(most, 1.0) if colour == "recovered" else most
    quiet = np.where(np.isfinite(grid.effect) & ~seen, 0.0, np.nan)
    shared = {"y": [str(layer) for layer in grid.layers], "customdata": hover, "xgap": 1, "ygap": 1}
    shared["hovertemplate"] = "%{customdata}<extra></extra>"
    written = [
        [f"{100 * v:.0f}" if colour == "recovered" and abs(v) >= WRITTEN_FROM else "" for v in row] for row in shown
    ]
    size = {"text": written, "texttemplate": "%{text}", "textfont": {"size": 10}} if len(names) <= MOST_WRITTEN else {}
    bar = (
        colour_bar("share of the way", tickformat=".0%") if colour == "recovered" else colour_bar(describe_metric(grid))
    )
    grey = [[0.0, theme.rule], [1.0, theme.rule]]
    figure = go.Figure(
        [
            go.Heatmap(z=quiet, colorscale=grey, showscale=False, **shared),
            go.Heatmap(
                z=shown,
                zmin=-most,
                zmax=most,
                colorscale=plotly_scale("diverging", dark),
                colorbar=bar,
                **shared,
                **size,
            ),
        ]
    )
    step = max(1, -(-len(names) // MOST_TICKS))
    at = list(range(0, len(names), step))
    figure.update_xaxes(tickmode="array", tickvals=at, ticktext=[plotly_text(shorten(names[i], 22)) for i in at])
    figure.update_yaxes(title_text="layer", type="category")
    rows, columns = values.shape
    title = f"Patching {grid.what} · {grid.direction} · {describe_metric(grid)}"
    width, height = max(640, min(1600, 240 + 42 * columns)), 150 + min(900, 24 * rows)
    return style_figure(figure, title, dark=dark, width=width, height=height)


@draws(PatchGrid, "frame")
def patching_frame(grid: PatchGrid) -> pd.DataFrame:
    """One line a cell; of several prompts also the recovered share in each."""
    row, column = np.indices(grid.effect.shape).reshape(2, -1)
    place: dict[str, object] = (
        {"position": grid.positions[column]} if grid.heads is None else {"head": grid.heads[column]}
    )
    if grid.heads is None:
        partner = dict(grid.alignment.tolist())
        clean = grid.positions[column].tolist()
        place["clean_token"] = [printable(grid.clean_tokens[p].shown) for p in clean]
        place["corrupt_token"] = [printable(grid.corrupt_tokens[partner[p]].shown) for p in clean]
    numbers = {
        "effect": grid.effect.ravel(),
        "recovered": grid.recovered.ravel(),
        "counts": grid.counts.ravel(),
        "skipped": grid.skipped.ravel(),
    }
    if grid.estimate is not None:
        numbers["estimate"] = grid.estimate.ravel()
    if grid.interval is not None:
        numbers |= {"from": grid.interval[0].ravel(), "to": grid.interval[1].ravel()}
    each = grid.each if grid.prompts else ()
    numbers |= {f"recovered, prompt {i}": shares.ravel() for i, shares in enumerate(each)}
    return pd.DataFrame({"layer": grid.layers[row], **place, **numbers})
