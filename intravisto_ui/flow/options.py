"""The options of the flow: start, measure, division, layers and attention links in one line, the others under More."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import RequestError
from intravisto_core.figures.web.flow_payload import FlowDress
from intravisto_core.request import Span
from intravisto_core.request.flow import GENERATED, DisagreementView, FlowView
from intravisto_core.sites import AttentionDivision, Reading, ShareMeasure
from intravisto_ui.parts import stage
from intravisto_ui.parts.choices import Width, draw_choice, draw_named_choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.flow_start import FlowStart
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.view_options import (
    draw_hide_first_toggle,
    draw_layer_slider,
    draw_measure_box,
    offered_measures,
)
from intravisto_ui.session.workspace import Shown, Workspace

START_HELP = (
    "Where the flow begins, and is followed down from.  \n**selected cell**: the cell chosen on the heatmap, in "
    "the strip above, or by *Start here*; clicks in the picture itself do not move the start.  \n**last "
    "position**: the final norm over the last token of the text.  \n**all generated**: every position that "
    "says a generated token, with equal mass."
)
NO_LINKS, ALL_LINKS, TOP, LEAST = "none", "all", "top k", "least weight"
LINKS = (TOP, ALL_LINKS, LEAST, NO_LINKS)
DOWN = 7
OF_NODE = "Of what the attention node got."
NOTHING = "nothing"
LABELS = {
    "blocks": "block outputs",
    "positions": "block outputs, with position",
    "all": "all nodes",
    "none": "none",
}
CANVASES = {"fixed": "fits the page", "wide": "wide columns", "tall": "tall rows", "both": "wide and tall"}
SIZES = {"small": 11.5, "normal": 13.0, "large": 16.0}
LABELS_HELP = (
    "A node's first token, where it differs from the row above or the node carries at least 3 % of the mass. The rest "
    "shows at the pointer."
)
CANVAS_HELP = (
    "Squeezed into the page, or with room for every token or every layer: then the picture scrolls inside its frame."
)


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """What the flow shows. other: a second way to share the mass out, to compare with. notes: for the reader."""

    view: FlowView
    style: FlowDress
    other: DisagreementView | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hiding:
    """Whether position 0 is left out, and whether the rest then makes up for it."""

    hide_start: bool
    reweigh: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Which links of an attention node are drawn, as `FlowView` takes it."""

    top_k: int | None = None
    min_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class MoreOptions:
    """What stands under More. down: rows below the start. other: a measure to compare with."""

    down: int
    min_mass: float
    other: ShareMeasure | None
    hiding: Hiding
    reading: Reading
    style: FlowDress


def find_anchor(workspace: Workspace, shown: Shown) -> tuple[int, int]:
    """Row and position that the flow starts from: the last cell that was selected outside its own picture."""
    base = workspace.base or shown
    selection, trace = workspace.selection, base.trace
    if not selection.part and selection.row is not None and selection.position is not None:
        workspace.options["flow_anchor"] = (trace.id, selection.row, selection.position)
    found = workspace.options.get("flow_anchor")
    if not found or found[0] != trace.id:
        return base.engine.model.n_layers + 1, trace.prompt_length - 1
    return found[1], found[2]


def find_start(workspace: Workspace, shown: Shown, start: FlowStart) -> tuple[int | None, int | str, str]:
    """Row and position to ask for, and a note where the choice was put right."""
    if start == FlowStart.LAST_POSITION:
        return None, -1, ""
    if start == FlowStart.ALL_GENERATED:
        return None, GENERATED, ""
    row, position = find_anchor(workspace, shown)
    if row == 0:
        return None, position, "The embeddings have no source: the flow starts from the final norm of that position."
    return row, position, ""


def draw(workspace: Workspace, shown: Shown) -> FlowOptions:
    """Draw the line of options; returns what was chosen.

    Raises:
        RequestError: the layers chosen lie above the start.
    """
    line, n_layers = stage.draw_option_line(), shown.engine.model.n_layers
    row, position, note = find_start(workspace, shown, draw_start_box(line, shown))
    measure, division = draw_measure_box(line, shown, 124), draw_division_box(line)
    rows = draw_layer_slider(line, n_layers, 168)
    limits = _draw_limits(line)
    with line.popover("More", key="flow_more"):
        more = _draw_more(shown, measure)
    drawn = _drawn_rows(n_layers + 1 if row is None else row, rows, more.down)
    view = FlowView(
        shown.trace.id,
        row,
        position,
        measure,
        division,
        rows=drawn,
        min_mass=more.min_mass,
        reading=more.reading,
        **asdict(more.hiding),
        **asdict(limits),
    )
    other = None
    if more.other is not None:
        other = DisagreementView(
            shown.trace.id,
            row,
            position,
            measure,
            division,
            more.other,
            rows=drawn,
            **asdict(more.hiding),
        )
    return FlowOptions(view, more.style, other, (note,) if note else ())


def draw_start_box(container: DeltaGenerator, shown: Shown) -> FlowStart:
    """Where the flow begins; all generated tokens only where there are some."""
    generated = len(shown.trace.tokens) > shown.trace.prompt_length
    offered = {start: str(start) for start in FlowStart if generated or start is not FlowStart.ALL_GENERATED}
    help = START_HELP + ("" if generated else "  \nThis text has no generated token.")
    return draw_named_choice(container, "Start", "flow_start", offered, help, FlowStart.SELECTED_CELL, width=168)


def draw_division_box(container: DeltaGenerator) -> AttentionDivision:
    """How attention's part divides over the positions it reads."""
    return draw_choice(container, "Attention by", "flow_division", tuple(AttentionDivision), 140)


def draw_hiding(container: DeltaGenerator) -> Hiding:
    """Whether position 0 is left out, and whether the rest then makes up for it."""
    hide = draw_hide_first_toggle(container)
    reweigh = draw_kept(
        container.toggle,
        "Reweigh without position 0",
        key="flow_reweigh",
        default=False,
        disabled=not hide,
        help="What attention reads elsewhere is scaled up so that it makes up for position 0."
        + ("" if hide else " Only where position 0 is ignored."),
    )
    return Hiding(hide, hide and reweigh)


def draw_scale_slider(container: DeltaGenerator, width: Width = "stretch") -> float:
    """Size of the whole picture."""
    return draw_kept(
        container.slider,
        "Scale",
        key="flow_scale",
        default=1.0,
        min_value=0.5,
        max_value=3.0,
        step=0.1,
        width=width,
        help="Size of the whole picture.",
    )


def _drawn_rows(start_row: int, rows: tuple[int, int], down: int) -> Span:
    low, high = max(rows[0], start_row - down), min(rows[1], start_row)
    if low > high:
        raise RequestError(
            "Layers: expected a range that reaches down to the start of the flow or below it; the flow starts under "
            "the lowest layer chosen. Move the slider down, or start higher"
        )
    return Span(low, high + 1)


def _draw_limits(line: DeltaGenerator) -> Limits:
    help = (
        "Which strokes from an attention node to the positions it reads are drawn: of each node the k heaviest, all, "
        "those of at least some share of it, or none. What is not drawn still counts, and is told under the picture."
    )
    names = {name: name for name in LINKS}
    how = draw_named_choice(line, "Attention links", "flow_links", names, help, TOP, width=148)
    if how == NO_LINKS:
        return Limits(top_k=0)
    if how == TOP:
        return Limits(top_k=_draw_top_k(line))
    if how == LEAST:
        return Limits(min_weight=_draw_percent(line, "Least weight", "flow_min_weight", 5.0, OF_NODE))
    return Limits()


def _draw_top_k(line: DeltaGenerator) -> int:
    return draw_kept(
        line.number_input,
        "k",
        key="flow_top_k",
        default=3,
        min_value=1,
        max_value=1000,
        step=1,
        width=92,
        help="How many links of each attention node are drawn, the heaviest first.",
    )


def _draw_percent(container: DeltaGenerator, label: str, key: str, default: float, help: str) -> float:
    value = draw_kept(
        container.number_input,
        f"{label}, %",
        key=key,
        default=default,
        min_value=0.0,
        max_value=100.0,
        step=0.1,
        format="%.4g",
        width=118,
        help=help,
    )
    return float(value) / 100


def _draw_more(shown: Shown, measure: ShareMeasure) -> MoreOptions:
    container, pair = open_container(), st.columns(2)
    n_rows = shown.engine.model.n_layers + 1
    down = draw_kept(
        pair[0].number_input,
        "Rows down",
        key="flow_down",
        default=min(DOWN, n_rows),
        valid=lambda v: isinstance(v, int) and 1 <= v <= n_rows,
        min_value=1,
        max_value=n_rows,
        step=1,
        help="How many rows are drawn below the start.",
    )
    why = "Links that carry less of the mass are not drawn."
    least = _draw_percent(pair[1], "Least mass", "flow_min_mass", 0.5, why)
    other = _draw_other_measure(container, shown, measure)
    hiding = draw_hiding(container)
    reading = draw_choice(
        container,
        "Tokens of a node",
        "flow_reading",
        (Reading.TOP, Reading.ITERATIVE),
        "stretch",
        "For what a node's own vector reads as; labels show the first.",
    )
    return MoreOptions(down, least, other, hiding, reading, _draw_style(container))


def _draw_other_measure(container: DeltaGenerator, shown: Shown, measure: ShareMeasure) -> ShareMeasure | None:
    names: dict[str | ShareMeasure, str] = {NOTHING: "compare with nothing"}
    names |= {m: f"compare with {m.label}" for m in offered_measures(shown) if m is not measure}
    help = (
        "Shares the same mass out a second time by another measure, and marks and lists the links whose place in the "
        "order by mass differs most between the two."
    )
    label = "Mark where another measure disagrees"
    chosen = draw_named_choice(container, label, "flow_other", names, help, NOTHING)
    return None if chosen == NOTHING else ShareMeasure(chosen)


def _draw_style(container: DeltaGenerator) -> FlowDress:
    pair = st.columns(2)
    labels = draw_named_choice(pair[0], "Labels", "flow_labels", LABELS, LABELS_HELP, "blocks")
    canvas = draw_named_choice(pair[1], "Canvas", "flow_canvas", CANVASES, CANVAS_HELP, "fixed")
    pair = st.columns(2)
    scale = draw_scale_slider(pair[0])
    sizes = {name: name for name in SIZES}
    size = draw_named_choice(pair[1], "Text size", "flow_text", sizes, "Of the labels in the picture.", "normal")
    bright = draw_kept(
        container.toggle,
        "Stronger colour for larger KL",
        key="flow_bright",
        default=True,
        help="KL: how much the prediction at the upper end of a link differs from that at its lower end.",
    )
    return FlowDress(labels, canvas, scale, SIZES[size], bright)
