"""How two models differ, as Plotly figures and a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.drawings import draws
from intravisto_core.figures.numbers import nats, share
from intravisto_core.figures.plots import cell_map, colour_bar, style_figure, token_ticks
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import colour_scale, css, ink_on
from intravisto_core.records import ModelDifference

KL, WEIGHTS = "kl", "weights"
MOST_TEXTS = 6000


@draws(ModelDifference, "figure")
def model_difference_figure(difference: ModelDifference, show: str = KL, dark: bool = False) -> go.Figure:
    """Where the second model would say something else, or which of its weights moved.

    show: "kl", rows of the model against positions, with both top tokens where they differ; or "weights", blocks
    against the kinds of their weights.

    Raises:
        RequestError: another word for show.
    """
    if show not in (KL, WEIGHTS):
        raise RequestError(expected("show", (KL, WEIGHTS), show))
    return _divergences(difference, dark) if show == KL else _weights(difference, dark)


def _divergences(difference: ModelDifference, dark: bool) -> go.Figure:
    rows, columns = difference.kl.shape
    most = float(difference.kl.max(initial=0.0)) or 1.0
    figure = go.Figure(
        cell_map(
            difference.kl,
            [[_hover(difference, r, p) for p in range(columns)] for r in range(rows)],
            "entropy",
            dark,
            (0, most),
            colour_bar("KL, nats"),
            x=list(range(columns)),
            y=list(range(rows)),
        )
    )
    if rows * columns <= MOST_TEXTS:
        figure.add_trace(_changes(difference, most, dark))
    figure.update_xaxes(range=[-0.5, columns - 0.5], **token_ticks(difference.tokens, columns))
    labels = [difference.row_label(int(r)) for r in difference.rows]
    figure.update_yaxes(tickmode="array", tickvals=list(range(rows)), ticktext=labels, range=[-0.5, rows - 0.5])
    n = int(difference.changed[-1].sum())
    title = f"{difference.other} beside {difference.model}: another top token at {n} of {columns} positions"
    size = {"width": max(640, min(2400, 240 + 76 * columns)), "height": 150 + min(1100, 26 * rows)}
    return style_figure(figure, title, dark=dark, **size)


def _changes(difference: ModelDifference, most: float, dark: bool) -> go.Scatter:
    """The second model's top token in the cells where it is another one."""
    places = np.argwhere(difference.changed)
    colours = colour_scale("entropy", dark)
    steps = [min(1.0, float(difference.kl[r, p]) / most) for r, p in places]
    return go.Scatter(
        x=[int(p) for _, p in places],
        y=[int(r) for r, _ in places],
        text=[plotly_text(shorten(_shown(difference, int(difference.other_top_ids[r, p])), 9)) for r, p in places],
        mode="text",
        textfont={"color": [css(ink_on(colours[round(255 * t)])) for t in steps], "size": 12},
        hoverinfo="skip",
        showlegend=False,
    )


def _shown(difference: ModelDifference, token_id: int) -> str:
    return difference.shown.get(token_id, f"id {token_id}")


def _hover(difference: ModelDifference, r: int, p: int) -> str:
    reads = plotly_text(difference.tokens[p].shown)
    lines = [f"<b>{difference.row_label(int(difference.rows[r]))}</b> · position {p} reads {reads}"]
    before, after = (_shown(difference, int(ids[r, p])) for ids in (difference.top_ids, difference.other_top_ids))
    lines.append(plotly_text(before if before == after else f"{before} → {after}"))
    lines.append(f"KL {nats(float(difference.kl[r, p]))}")
    return "<br>".join(lines)


def _weights(difference: ModelDifference, dark: bool) -> go.Figure:
    """Kinds of weights across, blocks down; what belongs to no block in a row of its own."""
    kinds = list(dict.fromkeys(_kind(name) for name in difference.weights))
    layers = sorted({int(layer) for layer in difference.weight_layer})
    values = np.full((len(layers), len(kinds)), np.nan)
    for name, layer, error in zip(difference.weights, difference.weight_layer, difference.weight_error, strict=True):
        values[layers.index(int(layer)), kinds.index(_kind(name))] = error
    labels = ["outside the blocks" if layer < 0 else f"layer {layer}" for layer in layers]
    figure = go.Figure(
        cell_map(
            values,
            [
                [f"{label}, {plotly_text(kind)}: {share(v)}" for kind, v in zip(kinds, row, strict=True)]
                for label, row in zip(labels, values, strict=True)
            ],
            "entropy",
            dark,
            (0, float(np.nanmax(values[np.isfinite(values)], initial=0.0)) or 1.0),
            colour_bar("‖change‖ / ‖weight‖", tickformat=".2%"),
            hoverongaps=False,
            x=[plotly_text(kind) for kind in kinds],
            y=labels,
        )
    )
    title = f"Weights of {difference.other} beside {difference.model}"
    size = {"width": max(640, min(1600, 260 + 60 * len(kinds))), "height": 260 + min(900, 24 * len(layers))}
    return style_figure(figure, title, dark=dark, **size)


def _kind(name: str) -> str:
    """A weight's name without its block: what comes after the number, or the last two parts."""
    parts = name.removesuffix(".weight").split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[-1:] if number is None else parts[number + 1 :])


@draws(ModelDifference, "frame")
def model_difference_frame(difference: ModelDifference) -> pd.DataFrame:
    """One line a cell; numbers of a whole position are the same in all its rows."""
    rows, columns = difference.kl.shape
    row, position = np.indices((rows, columns)).reshape(2, -1)
    names = {i: printable(text) for i, text in difference.shown.items()}

    def of_cell(ids: np.ndarray) -> list[str]:
        return [names.get(int(i), f"id {i}") for i in ids.ravel()]

    return pd.DataFrame(
        {
            "row": row,
            "label": [difference.row_label(int(r)) for r in row],
            "position": position,
            "reads": [printable(difference.tokens[p].shown) for p in position],
            "kl": difference.kl.ravel(),
            "says": of_cell(difference.top_ids),
            "other_says": of_cell(difference.other_top_ids),
            "log_prob": difference.log_prob[position],
            "other_log_prob": difference.other_log_prob[position],
            "logit_largest": difference.logit_largest[position],
            "logit_rms": difference.logit_rms[position],
        }
    )
