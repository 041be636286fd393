"""The options of the flow: start, measure, division, layers and attention links in one line, the others under More."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import RequestError
from intravisto_core.figures.web.flow_payload import FlowStyle
from intravisto_core.records import Sinks
from intravisto_core.request import Span
from intravisto_core.request.flow import GENERATED, DisagreementView, FlowView
from intravisto_ui.flow import more_options
from intravisto_ui.parts import sink_switch, stage
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.flow_start import FlowStart
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.view_options import draw_layer_slider
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

START_HELP = (
    "Where the flow begins, and is followed down from.  \n**selected cell**: the cell chosen on the heatmap, in "
    "the strip above, or by *Start here*; clicks in the picture itself do not move the start.  \n**last "
    "position**: the final norm over the last token of the text.  \n**all generated**: every position that "
    "says a generated token, with equal mass."
)
NO_LINKS, ALL_LINKS, TOP, LEAST = "none", "all", "top k", "least weight"
LINKS = (TOP, ALL_LINKS, LEAST, NO_LINKS)
OF_NODE = "Of what the attention node got."
K_WIDTH = 92


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """What the flow shows. other: a second way to share the mass out, to compare with. found: the text's attention
    sinks, None where they are not known. notes: for the reader.
    """

    view: FlowView
    style: FlowStyle
    other: DisagreementView | None
    found: Sinks | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Which links of an attention node are drawn, as `FlowView` takes it."""

    top_k: int | None = None
    min_weight: float = 0.0


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
    measure = more_options.draw_flow_measure_box(line, shown, 124)
    found = sink_switch.find_sinks(workspace, shown)
    handling = sink_switch.draw_switch(line, found)
    rows = draw_layer_slider(line, n_layers, 168)
    limits = _draw_limits(line)
    with line.popover("More", key="flow_more"):
        more = more_options.draw(shown, measure)
    drawn = _choose_rows(n_layers + 1 if row is None else row, rows, more.down)
    view = FlowView(
        shown.trace.id,
        row,
        position,
        measure,
        more.division,
        rows=drawn,
        min_mass=more.min_mass,
        reading=more.reading,
        sinks=handling,
        **asdict(limits),
    )
    other = None
    if more.other is not None:
        other = DisagreementView(
            shown.trace.id,
            row,
            position,
            measure,
            more.division,
            more.other,
            rows=drawn,
            sinks=handling,
        )
    return FlowOptions(view, more.style, other, found, (note,) if note else ())


def draw_start_box(container: DeltaGenerator, shown: Shown) -> FlowStart:
    """Where the flow begins; all generated tokens only where there are some."""
    generated = len(shown.trace.tokens) > shown.trace.prompt_length
    offered = {start: str(start) for start in FlowStart if generated or start is not FlowStart.ALL_GENERATED}
    help = START_HELP + ("" if generated else "  \nThis text has no generated token.")
    return draw_named_choice(container, "Start", "flow_start", offered, help, FlowStart.SELECTED_CELL, width=168)


def _choose_rows(start_row: int, rows: tuple[int, int], down: int) -> Span:
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
    # a field of one width whatever is chosen, so that the line does not jump
    if how == LEAST:
        return Limits(min_weight=more_options.draw_percent(line, "Least", "flow_min_weight", 5.0, OF_NODE, K_WIDTH))
    k = _draw_top_k(line, off=how != TOP)
    return Limits(top_k={TOP: k, NO_LINKS: 0}.get(how))


def _draw_top_k(line: DeltaGenerator, off: bool) -> int:
    return draw_kept(
        line.number_input,
        "k",
        key="flow_top_k",
        default=3,
        min_value=1,
        max_value=1000,
        step=1,
        width=K_WIDTH,
        disabled=off,
        help="How many links of each attention node are drawn, the heaviest first."
        + (" Only where *top k* is chosen." if off else ""),
    )
