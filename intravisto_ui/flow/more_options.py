"""The options of the flow that stand under More; some of them other views of the page have too."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.web.flow_payload import FlowStyle
from intravisto_core.request import FLOW_DIVISION, FLOW_MEASURE
from intravisto_core.sites import AttentionDivision, Capability, Reading, ShareMeasure
from intravisto_ui.parts.choices import Width, draw_choice, draw_named_choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.view_options import draw_measure_box, offered_measures
from intravisto_ui.session.shown import Shown

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
class MoreOptions:
    """What stands under More. down: rows below the start. other: a measure to compare with."""

    division: AttentionDivision
    down: int
    min_mass: float
    other: ShareMeasure | None
    reading: Reading
    style: FlowStyle


def draw(shown: Shown, measure: ShareMeasure) -> MoreOptions:
    """The widgets. measure: the one that the flow is shared out by."""
    container = open_container()
    division = draw_division_box(container, shown)
    pair = st.columns(2)
    n_rows = shown.engine.model.n_layers + 1
    down = draw_kept(
        pair[0].number_input,
        "Rows down",
        key="flow_down",
        default=n_rows,
        of=n_rows,
        valid=lambda v: isinstance(v, int) and 1 <= v <= n_rows,
        min_value=1,
        max_value=n_rows,
        step=1,
        help="How many rows are drawn below the start. At first all: the flow goes down to the words.",
    )
    why = "Links that carry less of the mass are not drawn."
    least = draw_percent(pair[1], "Least mass", "flow_min_mass", 0.5, why)
    other = _draw_other_measure(container, shown, measure)
    reading = draw_choice(
        container,
        "Tokens of a node",
        "flow_reading",
        (Reading.TOP, Reading.ITERATIVE),
        "stretch",
        "How the tokens that a node reads as are found. Its label shows the first of them.",
    )
    return MoreOptions(division, down, least, other, reading, _draw_style(container))


def draw_division_box(container: DeltaGenerator, shown: Shown, width: Width = "stretch") -> AttentionDivision:
    """How attention's part divides over the positions it reads; by the weights alone where heads cannot be told."""
    if shown.engine.model.capabilities[Capability.HEADS].ok:
        every = tuple(AttentionDivision)
        return draw_choice(container, "Attention by", "flow_division", every, width, default=FLOW_DIVISION)
    why = "What this model's heads write cannot be told apart, so that only their weights can be followed."
    return draw_choice(container, "Attention by", "weights_only", (AttentionDivision.WEIGHTS,), width, off=why)


def draw_flow_measure_box(container: DeltaGenerator, shown: Shown, width: Width) -> ShareMeasure:
    """How the flow's mass is shared out where parts join."""
    return draw_measure_box(container, shown, width, "flow_measure", FLOW_MEASURE)


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


def _draw_style(container: DeltaGenerator) -> FlowStyle:
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
    return FlowStyle(labels, canvas, scale, SIZES[size], bright)


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


def draw_percent(container: DeltaGenerator, label: str, key: str, default: float, help: str, width: int = 118) -> float:
    """A number of per cent, as a part of 1."""
    value = draw_kept(
        container.number_input,
        f"{label}, %",
        key=key,
        default=default,
        min_value=0.0,
        max_value=100.0,
        step=0.1,
        format="%.4g",
        width=width,
        help=help,
    )
    return float(value) / 100
