"""The heatmap as a Plotly figure: static, adaptable; the interactive one is figures/web."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go

from intravisto_core.figures.measures import SHARE_COLOURS, WRITTEN, Measure, measure
from intravisto_core.figures.numbers import change, nats, probability, significant
from intravisto_core.figures.plots import colour_bar, dressed, plotly_scale
from intravisto_core.figures.text import plotly_text, shorten
from intravisto_core.figures.theme import DARK, LIGHT, colour_scale, css, ink_on
from intravisto_core.figures.web.payload import title
from intravisto_core.records import DecodedGrid, Shares
from intravisto_core.sites import Colour, Reading

LISTED = 5
MOST_TEXT_CELLS = 6000
WIDE_COLUMNS = 16


def heatmap_figure(
    grid: DecodedGrid,
    colour: Colour | str = Colour.P_MAX,
    shares: Shares | None = None,
    scale: str = "component",
    dark: bool = False,
    log_scale: bool = False,
    clip: bool = False,
) -> go.Figure:
    """Rows of the model, the top one above, against positions; each cell holds its top token.

    z holds the numbers themselves; where the scale is logarithmic, the place of each on it, from 0 to 1.

    Raises:
        RequestError: the colour needs shares, or is not one that this grid has; an unknown scale.
    """
    chosen = measure(grid, colour, shares, scale, log_scale, clip)
    n_rows, n_positions = grid.p_max.shape
    wide = n_positions <= WIDE_COLUMNS
    column = max(44, min(110, 1200 // max(1, n_positions)))
    row = max(22, min(44, 760 // max(1, n_rows)))
    order = np.argsort(grid.rows, kind="stable")
    placed = _by_place(chosen)
    cells = go.Heatmap(
        z=(chosen.fractions() if placed else chosen.values)[order],
        x=list(range(n_positions)),
        y=list(range(n_rows)),
        customdata=[[_hover(grid, chosen, int(r), p) for p in range(n_positions)] for r in order],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=True,
        zmin=0.0 if placed else chosen.low,
        zmax=1.0 if placed else chosen.high,
        xgap=1,
        ygap=1,
        colorscale=plotly_scale(chosen.scale, dark),
        colorbar=_bar(chosen),
    )
    figure = go.Figure(cells)
    if n_rows * n_positions <= MOST_TEXT_CELLS:
        figure.add_trace(_texts(grid, chosen, order, column, dark))
    figure.update_xaxes(
        side="top", tickmode="array", tickvals=list(range(n_positions)), ticktext=_heads(grid), ticks=""
    )
    figure.update_xaxes(tickangle=0 if wide else -60, range=[-0.5, n_positions - 0.5])
    labels = [grid.row_label(int(grid.rows[r])) for r in order]
    figure.update_yaxes(tickmode="array", tickvals=list(range(n_rows)), ticktext=labels, ticks="")
    figure.update_yaxes(range=[-0.5, n_rows - 0.5])
    heading = f"{title(grid)}, {grid.norm.label} · {grid.model}"
    above = 92 if wide else 140
    size = {"width": column * n_positions + 240, "height": row * n_rows + above + 30, "above": above}
    return dressed(figure, heading, dark=dark, **size)


def _heads(grid: DecodedGrid) -> list[str]:
    """What each column reads and says."""
    return [
        f"{position} {plotly_text(shorten(token.shown, 12))}<br>→ {plotly_text(shorten(_shown(grid, int(says)), 12))}"
        for position, token, says in zip(grid.positions, grid.tokens, grid.says, strict=True)
    ]


def _texts(grid: DecodedGrid, chosen: Measure, order: np.ndarray, column: int, dark: bool) -> go.Scatter:
    """The cells' tokens, each in an ink that is legible on its cell; Plotly's own choice is not always."""
    colours = colour_scale(chosen.scale, dark)
    page_ink = (DARK if dark else LIGHT).ink
    places = [(y, int(r), p) for y, r in enumerate(order) for p in range(grid.p_max.shape[1])]
    fractions = chosen.fractions()
    steps = [fractions[r, p] for _, r, p in places]
    inks = [css(ink_on(colours[round(255 * t)])) if np.isfinite(t) else page_ink for t in steps]
    return go.Scatter(
        x=[p for _, _, p in places],
        y=[y for y, _, _ in places],
        text=[_cell_text(grid, r, p, column) for _, r, p in places],
        mode="text",
        textfont={"color": inks, "size": 12},
        hoverinfo="skip",
        showlegend=False,
    )


def _shown(grid: DecodedGrid, token_id: int) -> str:
    return grid.shown.get(token_id, f"id {token_id}")


def _cell_text(grid: DecodedGrid, r: int, p: int, column: int) -> str:
    token_id = int(grid.token_ids[r, p, 0])
    return "" if token_id < 0 else plotly_text(shorten(_shown(grid, token_id), max(2, (column - 4) // 8)))


def _bar(chosen: Measure) -> dict[str, object]:
    if _by_place(chosen):
        middle = (chosen.low * chosen.high) ** 0.5 if chosen.log else (chosen.low + chosen.high) / 2
        ticks = [0.0, 0.5, 1.0]
    else:
        middle = (chosen.low + chosen.high) / 2
        ticks = [chosen.low, middle, chosen.high]
    between = "" if chosen.line == "verdict" else WRITTEN[chosen.line](middle)
    texts = [chosen.low_text, plotly_text(between), chosen.high_text]
    return colour_bar(plotly_text(chosen.name), tickmode="array", tickvals=ticks, ticktext=texts)


def _by_place(chosen: Measure) -> bool:
    """Whether Plotly is given places on the scale, as it has none that is logarithmic or upside down."""
    return chosen.log or chosen.low > chosen.high


def _listed(grid: DecodedGrid) -> tuple[np.ndarray, Callable[[float], str]]:
    """The numbers of the listed tokens, and how they are written."""
    if grid.reading is Reading.ITERATIVE and grid.coefficients is not None:
        return grid.coefficients, significant
    return (grid.logits, change) if grid.is_update else (grid.probabilities, probability)


def _hover(grid: DecodedGrid, chosen: Measure, r: int, p: int) -> str:
    label, position = grid.row_label(int(grid.rows[r])), int(grid.positions[p])
    lines = [f"<b>{label}</b> · position {position} reads {plotly_text(grid.tokens[p].shown)}"]
    if int(grid.token_ids[r, p, 0]) < 0:
        return "<br>".join([*lines, plotly_text(grid.blank[r] or chosen.missing)])
    numbers, write = _listed(grid)
    for token_id, number in list(zip(grid.token_ids[r, p], numbers[r, p], strict=True))[:LISTED]:
        if token_id >= 0:
            lines.append(f"{plotly_text(_shown(grid, int(token_id)))}  {write(float(number))}")
    if not grid.is_update:
        lines.append(f"entropy {nats(float(grid.entropy[r, p]))}")
    if chosen.told or chosen.colour in SHARE_COLOURS:
        lines.append(f"{plotly_text(chosen.name)} {WRITTEN[chosen.line](float(chosen.values[r, p]))}")
    return "<br>".join(lines)
