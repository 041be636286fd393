"""The heatmap: a Plotly figure, the interactive page, a table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from intravisto_core.figures.drawings import draws
from intravisto_core.figures.measures import FORMATS, SHARE_COLOURS, Measure, measure
from intravisto_core.figures.numbers import change, nats, probability, significant
from intravisto_core.figures.page import HEATMAP_KEYS, component_page
from intravisto_core.figures.plots import cell_map, colour_bar, style_figure
from intravisto_core.figures.text import plotly_text, printable, shorten
from intravisto_core.figures.theme import DARK, LIGHT, colour_scale, css, ink_on
from intravisto_core.figures.web.payload import TEXT_SIZE, Mark, grid_payload, title
from intravisto_core.figures.web.strip import strip_data
from intravisto_core.records import DecodedGrid, Shares
from intravisto_core.sites import Colour, Lens, NormPolicy, Reading

QUESTION = "Which token would each layer predict here?"
LISTED = 5
MOST_TEXT_CELLS = 6000
WIDE_COLUMNS = 16
_CELL_NUMBERS = (
    "p_max",
    "entropy",
    "kl_final",
    "kl_below",
    "next_log_prob",
    "norms",
    "cosine",
    "top3_share",
)


@draws(DecodedGrid, "figure")
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
    cells = cell_map(
        (chosen.fractions() if placed else chosen.values)[order],
        [[_hover(grid, chosen, int(r), p) for p in range(n_positions)] for r in order],
        chosen.scale,
        dark,
        (0.0, 1.0) if placed else (chosen.low, chosen.high),
        _bar(chosen),
        hoverongaps=True,
        x=list(range(n_positions)),
        y=list(range(n_rows)),
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
    heading = f"{title(grid)}, {grid.norm.label}"
    above = 92 if wide else 140
    size = {"width": column * n_positions + 240, "height": row * n_rows + above + 30, "above": above}
    return style_figure(figure, heading, dark=dark, **size)


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
    between = "" if chosen.line == "verdict" else FORMATS[chosen.line](middle)
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
    if chosen.in_hover or chosen.colour in SHARE_COLOURS:
        lines.append(f"{plotly_text(chosen.name)} {FORMATS[chosen.line](float(chosen.values[r, p]))}")
    return "<br>".join(lines)


@draws(DecodedGrid, "page")
def heatmap_page(
    grid: DecodedGrid,
    colour: Colour | str = Colour.P_MAX,
    shares: Shares | None = None,
    scale: str = "component",
    marks: tuple[Mark, ...] = (),
    heading: str = QUESTION,
    log_scale: bool = False,
    clip: bool = False,
    text_size: float = TEXT_SIZE,
) -> str:
    """The interactive heatmap as a page; the options are those of `grid_payload`."""
    payload = grid_payload(grid, colour, shares, scale, marks, grid.trace, log_scale, clip, text_size)
    strip = strip_data(grid.tokens, grid.prompt_length, grid.trace, int(grid.rows.max(initial=0)))
    about = f"{grid.model} · {title(grid)} · {grid.norm.label}"
    return component_page(heading, about, {"strip": strip, "grid": payload}, _explain(grid))


def _explain(grid: DecodedGrid) -> list[str]:
    """What the numbers are, in sentences."""
    lines = [
        "Each column is a position of the text: it reads its token and says the next one, the model's own top token. "
        f"Each row decodes the {grid.component.label} of one layer.",
        f"Lens “{grid.lens.label}”. {Lens(grid.lens).help}",
        f"Norm “{grid.norm.label}”. {NormPolicy(grid.norm).help}",
    ]
    if grid.is_update:
        lines.append(
            "Cells show the token whose logit this update raises most, and by how much; at the pointer also the most "
            "lowered ones. A change of logit is no probability."
        )
    elif grid.reading is Reading.ITERATIVE:
        lines.append(
            "Cells list the top token, then the top of what is left once its direction is taken away, and so on; the "
            "numbers at the pointer are the lengths along those directions."
        )
    else:
        lines.append("Probabilities are a softmax over the whole vocabulary; entropy is in nats, 0 is certain.")
    return [*lines, HEATMAP_KEYS, *grid.notes]


@draws(DecodedGrid, "frame")
def heatmap_frame(grid: DecodedGrid) -> pd.DataFrame:
    """One line a listed token: row, position, list ("top" or "suppressed"), rank k from 1, token, its numbers, and
    the numbers of its cell. Blank cells have no line.
    """
    lists = [_listed_tokens(grid, "top", grid.token_ids, grid.probabilities, grid.logits)]
    if grid.suppressed_ids is not None and grid.suppressed_logits is not None:
        nothing = np.full(grid.suppressed_logits.shape, np.nan)
        lists.append(_listed_tokens(grid, "suppressed", grid.suppressed_ids, nothing, grid.suppressed_logits))
    table = pd.concat(lists) if len(lists) > 1 else lists[0]
    table = table[table["token_id"] >= 0]
    order = ["row", "position", "list", "k"]
    return table.sort_values(order, ascending=[True, True, False, True], kind="stable").reset_index(drop=True)


def _listed_tokens(
    grid: DecodedGrid, name: str, ids: np.ndarray, probabilities: np.ndarray, logits: np.ndarray
) -> pd.DataFrame:
    n_rows, n_positions, k = ids.shape

    def cells(values: np.ndarray) -> np.ndarray:
        return np.repeat(values.reshape(-1), k)

    rows = np.repeat(grid.rows, n_positions)
    reads = np.array([printable(t.shown) for t in grid.tokens], dtype=object)
    labels = np.array([grid.row_label(int(r)) for r in grid.rows], dtype=object)
    texts = {int(i): printable(grid.shown.get(int(i), f"id {i}")) if i >= 0 else "" for i in np.unique(ids)}
    columns: dict[str, object] = {
        "row": cells(rows),
        "label": cells(np.repeat(labels, n_positions)),
        "position": cells(np.tile(grid.positions, n_rows)),
        "reads": cells(np.tile(reads, n_rows)),
        "list": name,
        "k": np.tile(np.arange(1, k + 1), n_rows * n_positions),
        "token_id": ids.reshape(-1),
        "token": [texts[int(i)] for i in ids.reshape(-1)],
        "probability": probabilities.reshape(-1),
        "logit": logits.reshape(-1),
    }
    if name == "top" and grid.coefficients is not None:
        columns["coefficient"] = grid.coefficients.reshape(-1)
    columns |= {number: cells(getattr(grid, number)) for number in _CELL_NUMBERS}
    if grid.winner is not None:
        columns["winner"] = cells(grid.winner)
    for watched in grid.watch:
        for number in ("probability", "logit", "rank"):
            columns[f"{number} of {printable(watched.shown)}"] = cells(getattr(watched, number))
    return pd.DataFrame(columns)
