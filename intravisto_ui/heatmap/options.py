"""The options of the heatmap: the few that matter in one line, the others under More."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.numbers import share
from intravisto_core.request import HeatmapView, Selection, SinksView, Span
from intravisto_core.request.ranges import indices
from intravisto_core.request.views import default_norm
from intravisto_core.sites import (
    Capability,
    Choice,
    Colour,
    Component,
    Lens,
    NormPolicy,
    Reading,
    ShareMeasure,
    TokenOrder,
)
from intravisto_ui.heatmap import colours
from intravisto_ui.heatmap.colours import GridStyle
from intravisto_ui.parts import stage, template_fold
from intravisto_ui.parts.choices import draw_choice, draw_named_choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.view_options import (
    draw_layer_slider,
    draw_measure_box,
    is_range_of,
)
from intravisto_ui.session import edit_marks
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

AUTO = "auto"
COMPARED = (
    "The difference of two runs has a colour of its own: how far each cell moved. Choose baseline or edited above to "
    "choose here."
)
MANY_ROWS, MANY_POSITIONS = 40, 100
STATE_COLOURS = tuple(c for c in Colour if c is not Colour.LOGIT)
ORDERS = (TokenOrder.ANGLE, TokenOrder.LOGIT)
UPDATE_COLOURS = (Colour.LOGIT, Colour.ATTENTION, Colour.MLP, Colour.STREAM_NORM, Colour.COSINE)


@dataclass(frozen=True, slots=True)
class Options:
    """What the heatmap shows. notes: what the choices leave out or replace, for the reader."""

    view: HeatmapView
    colour: Colour
    measure: ShareMeasure
    style: GridStyle
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MoreOptions:
    """What stands under More. strides: every how many rows and positions. hide_first: without position 0."""

    norm: NormPolicy | None
    reading: Reading
    order: TokenOrder
    measure: ShareMeasure
    style: GridStyle
    strides: tuple[int, int]
    hide_first: bool


def draw(workspace: Workspace, shown: Shown) -> Options:
    """Draw the line of options; returns what was chosen, with choices that cannot go together put right."""
    line = stage.draw_option_line()
    off = COMPARED if edit_marks.is_difference(workspace) else ""
    component = draw_choice(line, "Component", "component", tuple(Component), 142)
    lens_slot, colour_slot = line.container(width=132, key="lens_slot"), line.container(width=164, key="colour_slot")
    rows = draw_layer_slider(line, shown.engine.model.n_layers, 188)
    positions = _draw_positions(line, len(shown.trace.tokens))
    # what is only told there is not computed before it is opened
    with line.popover("More", key="more", on_change="rerun") as menu:
        more = _draw_more(workspace, component, shown, off, bool(menu.open))
    update = is_update(component, Lens.OUTPUT, more.norm, more.reading)
    lens = _draw_lens(lens_slot, shown, update)
    colour = _draw_colour(colour_slot, update, off)
    watch = (find_asked_question(workspace, shown).target.typed,) if colour in colours.WATCHING else ()
    first = 1 if more.hide_first and positions[0] == 0 and positions[1] > 0 else positions[0]
    notes = []
    if first != positions[0]:
        left_out = f"Position 0 is left out: 1 of {plural(len(shown.trace.tokens), 'position')}."
        notes.append(f"{left_out} {_describe_sink(workspace, shown)}")
    if rows[1] - rows[0] >= MANY_ROWS * more.strides[0] or positions[1] - first >= MANY_POSITIONS * more.strides[1]:
        notes.append("A large picture: it scrolls. Under More it can show every n-th layer or position only.")
    positions_left = _leave_out_folds(workspace, shown, _select_every(first, positions[1], more.strides[1]), notes)
    view = HeatmapView(
        shown.trace.id,
        component,
        lens,
        more.norm,
        rows=_select_every(rows[0], rows[1], more.strides[0]),
        positions=positions_left,
        watch=watch,
        ranks=colour is Colour.RANK,
        order=more.order,
        reading=more.reading,
    )
    return Options(view, colour, more.measure, more.style, tuple(notes))


def _leave_out_folds(workspace: Workspace, shown: Shown, positions: Selection, notes: list[str]) -> Selection:
    """The positions without those of the chat template, while these are folded."""
    folds = template_fold.find_folds(workspace, shown)
    listed = indices(positions, len(shown.trace.tokens), "positions")
    left = tuple(p for p in listed if not any(fold.start <= p < fold.stop for fold in folds))
    if not left or len(left) == len(listed):
        return positions
    notes.append(
        f"{plural(len(listed) - len(left), 'token')} of the chat template folded: the switch above shows them."
    )
    return left


def is_update(component: Component, lens: Lens, norm: NormPolicy | None, reading: Reading) -> bool:
    """Whether cells show changes of logits instead of probabilities (docs/methods.md §3)."""
    return (norm or default_norm(component, lens, reading)) is NormPolicy.STREAM


def _draw_colour(container: DeltaGenerator, update: bool, off: str) -> Colour:
    why = "The watched token is the target of the question above the options."
    if update:
        why = "An update has no probability: it is coloured by change of logit, share, or numbers of the stream."
    offered = UPDATE_COLOURS if update else STATE_COLOURS
    return draw_choice(container, "Colour", "colour", offered, "stretch", why, off)


def _draw_lens(container: DeltaGenerator, shown: Shown, update: bool) -> Lens:
    offered = tuple(lens for lens in Lens if not (update and lens is Lens.MAX))
    why = "Max probability is not offered for updates: a change has no probability." if update else ""
    if shown.engine.model.tied:
        why += " This model's input and output tables are the same one, so all lenses agree."
    return draw_choice(container, "Lens", "lens", offered, "stretch", why)


def _draw_positions(container: DeltaGenerator, n: int) -> tuple[int, int]:
    if n < 2:
        return (0, 0)
    choices = list(range(n))
    return draw_kept(
        container.select_slider,
        "Positions",
        key=f"positions_{n}",
        default=(0, n - 1),
        options=choices,
        valid=lambda v: is_range_of(v, choices),
        width=188,
        help="Columns of the picture: places in the text.",
    )


def _select_every(first: int, last: int, step: int) -> Selection:
    """All from first to last, or every step-th counted back from the last, which is always there."""
    return Span(first, last + 1) if step == 1 else tuple(range(last, first - 1, -step))[::-1]


def _draw_more(workspace: Workspace, component: Component, shown: Shown, off: str, is_open: bool) -> MoreOptions:
    container = open_container()
    norms: dict[str | NormPolicy, str] = {AUTO: "as fits the component", **{n: n.label for n in NormPolicy}}
    norm = draw_named_choice(container, "Norm before the lens", "norm", norms, _list_helps(NormPolicy), AUTO)
    is_block = component is Component.BLOCK
    reading = draw_choice(
        container,
        "Tokens listed in a cell",
        "reading",
        tuple(r for r in Reading if is_block or r is not Reading.DIFFERENCE),
        "stretch",
        "" if is_block else "The difference from the row below is offered for the block output.",
        off,
    )
    order = draw_choice(container, "Tokens of updates by", "token_order", ORDERS, "stretch")
    measure = draw_measure_box(container, shown, "stretch")
    style = colours.draw()
    pair = st.columns(2)
    strides = (
        _draw_stride(pair[0], "Every n-th layer", "row_step", "The topmost row is always shown."),
        _draw_stride(pair[1], "Every n-th position", "position_step", "The last position is always shown."),
    )
    hide_first = _draw_hide_first_toggle(container)
    if is_open:
        st.html(f'<div class="hint">{escape_html(_describe_sink(workspace, shown))}</div>')
    return MoreOptions(None if norm == AUTO else NormPolicy(norm), reading, order, measure, style, strides, hide_first)


def _draw_hide_first_toggle(container: DeltaGenerator) -> bool:
    """Whether position 0 is left out."""
    return draw_kept(
        container.toggle,
        "Leave out position 0",
        key="hide_first",
        default=False,
        help="Heads look at the first position when they have nothing to do; its numbers are often extreme.",
    )


def _draw_stride(container: DeltaGenerator, label: str, key: str, help: str) -> int:
    return draw_kept(container.number_input, label, key=key, default=1, min_value=1, max_value=64, step=1, help=help)


def _describe_sink(workspace: Workspace, shown: Shown) -> str:
    """How much leaving out position 0 hides."""
    if len(shown.trace.tokens) < 2:
        return "There is no other position."
    pattern = shown.engine.model.capabilities[Capability.PATTERN]
    if not (pattern.ok or pattern.pending):
        return "How much attention goes to it is not known: this model's patterns cannot be shown."
    found = workspace.read_view(shown.engine, SinksView(shown.trace.id), "sinks")
    received = share(float(found.first.mean()))
    return f"It receives {received} of the attention of all others (mean over layers, heads and positions)."


def _list_helps(kind: type[Choice]) -> str:
    return "  \n".join(f"**{c.label}**: {c.help}" for c in kind)
