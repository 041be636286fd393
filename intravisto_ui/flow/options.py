"""The options of the flow: start, measure, division, layers and attention links in one line, the others under More."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.figures.web.flow_payload import FlowStyle as FlowDress
from intravisto_core.request import Span
from intravisto_core.request.flow import GENERATED, DisagreementView, FlowView
from intravisto_core.sites import AttentionDivision, BlockKind, Reading, ShareMeasure
from intravisto_ui.parts.choices import choice, named
from intravisto_ui.parts.kept import kept
from intravisto_ui.parts.view_options import ALL, CELL, LAST, hiding, measure_box, rows_slider
from intravisto_ui.session.workspace import Shown, Workspace

STARTS = (CELL, LAST, ALL)
START_HELP = (
    "Where the flow begins, and is followed down from.  \n**selected cell**: the cell chosen on the heatmap, in "
    "the strip above, or by *Start here*; clicks in the picture itself do not move the start.  \n**last "
    "position**: the final norm over the last token of the text.  \n**all generated**: every position that "
    "says a generated token, with equal mass."
)
NO_LINKS, ALL_LINKS, TOP, LEAST = "none", "all", "top k", "least weight"
LINKS = (TOP, ALL_LINKS, LEAST, NO_LINKS)
DOWN = 7
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
    dress: FlowDress
    other: DisagreementView | None
    notes: tuple[str, ...]


def anchor(here: Workspace) -> tuple[int, int]:
    """Row and position that the flow starts from: the last cell that was selected outside its own picture."""
    assert here.base is not None
    place, trace = here.place, here.base.trace
    if not place.part and place.row is not None and place.position is not None:
        here.options["flow_anchor"] = (trace.id, place.row, place.position)
    found = here.options.get("flow_anchor")
    if not found or found[0] != trace.id:
        return here.base.engine.model.n_layers + 1, trace.prompt_length - 1
    return found[1], found[2]


def start(here: Workspace, chosen: str) -> tuple[int | None, int | str, str]:
    """Row and position to ask for, and a note where the choice was put right."""
    assert here.shown is not None
    if chosen == LAST:
        return None, -1, ""
    if chosen == ALL:
        return None, GENERATED, ""
    row, position = anchor(here)
    if row == 0:
        return None, position, "The embeddings have no source: the flow starts from the final norm of that position."
    return row, position, ""


def draw(here: Workspace) -> FlowOptions:
    """Draw the line of options; returns what was chosen.

    Raises:
        RequestError: the layers chosen lie above the start.
    """
    shown = here.shown
    assert shown is not None
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
    row, position, note = start(here, start_box(line, shown))
    measure, division = measure_box(line, shown), division_box(line)
    rows = rows_slider(line, shown.engine.model.n_layers)
    limits = _attention(line)
    with line.popover("More", key="flow_more"):
        more, hide, dress, other_measure, down = _more(shown, measure)
    common = {"row": row, "position": position, "measure": measure, "attention": division, **hide}
    drawn = _drawn(shown.engine.model.n_layers + 1 if row is None else row, rows, down)
    view = FlowView(shown.trace.id, rows=drawn, **common, **limits, **more)
    other = None
    if other_measure is not None:
        other = DisagreementView(shown.trace.id, rows=drawn, other_measure=other_measure, **common)
    return FlowOptions(view, dress, other, (note,) if note else ())


def start_box(place: Any, shown: Shown) -> str:
    """Where the flow begins; all generated tokens only where there are some."""
    generated = len(shown.trace.tokens) > shown.trace.prompt_length
    offered = STARTS if generated else STARTS[:2]
    return kept(
        place.selectbox,
        "Start",
        key="flow_start",
        default=CELL,
        options=list(offered),
        valid=lambda v: v in offered,
        width=168,
        help=START_HELP + ("" if generated else "  \nThis text has no generated token."),
    )


def division_box(place: Any) -> AttentionDivision:
    """How attention's part divides over the positions it reads."""
    return choice(place, "Attention by", "flow_division", tuple(AttentionDivision), 140)


def _drawn(start_row: int, rows: tuple[int, int], down: int) -> Span:
    low, high = max(rows[0], start_row - down), min(rows[1], start_row)
    if low > high:
        raise RequestError(
            "Layers: expected a range that reaches down to the start of the flow or below it; the flow starts under "
            "the lowest layer chosen. Move the slider down, or start higher"
        )
    return Span(low, high + 1)


def _attention(line: Any) -> dict[str, Any]:
    how = kept(
        line.selectbox,
        "Attention links",
        key="flow_links",
        default=TOP,
        options=list(LINKS),
        valid=lambda v: v in LINKS,
        width=148,
        help="Which strokes from an attention node to the positions it reads are drawn: of each node the k heaviest, "
        "all, those of at least some share of it, or none. What is not drawn still counts, and is told under the "
        "picture.",
    )
    if how == NO_LINKS:
        return {"top_k": 0}
    if how == TOP:
        return {
            "top_k": kept(
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
        }
    if how == LEAST:
        return {"min_weight": _percent(line, "Least weight", "flow_min_weight", 5.0, "Of what the attention node got.")}
    return {}


def _percent(place: Any, label: str, key: str, default: float, help: str) -> float:
    value = kept(
        place.number_input,
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


def _more(shown: Shown, measure: ShareMeasure) -> tuple[Any, ...]:
    pair = st.columns(2)
    n_rows = shown.engine.model.n_layers + 1
    down = kept(
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
    least = _percent(pair[1], "Least mass", "flow_min_mass", 0.5, "Links that carry less of the mass are not drawn.")
    other = _compared(shown, measure)
    hide = hiding(st)
    reading = choice(
        st,
        "Tokens of a node",
        "flow_reading",
        (Reading.TOP, Reading.ITERATIVE),
        "stretch",
        "For what a node's own vector reads as; labels show the first.",
    )
    return {"min_mass": least, "reading": reading}, hide, _dress(), other, down


def _compared(shown: Shown, measure: ShareMeasure) -> ShareMeasure | None:
    parallel = shown.engine.model.block == BlockKind.PARALLEL
    rest = [m for m in ShareMeasure if m is not measure and not (parallel and m is ShareMeasure.KL_PAIR)]
    chosen = kept(
        st.selectbox,
        "Mark where another measure disagrees",
        key="flow_other",
        default=NOTHING,
        options=[NOTHING, *rest],
        valid=lambda v: v == NOTHING or v in rest,
        format_func=lambda m: "compare with nothing" if m == NOTHING else f"compare with {m.label}",
        help="Shares the same mass out a second time by another measure, and marks and lists the links whose place in "
        "the order by mass differs most between the two.",
    )
    return None if chosen == NOTHING else chosen


def _dress() -> FlowDress:
    pair = st.columns(2)
    labels = named(pair[0], "Labels", "flow_labels", LABELS, LABELS_HELP, "blocks")
    canvas = named(pair[1], "Canvas", "flow_canvas", CANVASES, CANVAS_HELP, "fixed")
    pair = st.columns(2)
    scale = kept(
        pair[0].slider,
        "Scale",
        key="flow_scale",
        default=1.0,
        min_value=0.5,
        max_value=3.0,
        step=0.1,
        help="Size of the whole picture.",
    )
    sizes = {name: name for name in SIZES}
    size = named(pair[1], "Text size", "flow_text", sizes, "Of the labels in the picture.", "normal")
    bright = kept(
        st.toggle,
        "Stronger colour for larger KL",
        key="flow_bright",
        default=True,
        help="KL: how much the prediction at the upper end of a link differs from that at its lower end.",
    )
    return FlowDress(labels, canvas, scale, SIZES[size], bright)
