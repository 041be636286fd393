"""The options of the heatmap: the few that matter in one line, the others under More."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from intravisto_core.figures.numbers import share
from intravisto_core.request import AttentionSinkView, HeatmapView, Selection, Span
from intravisto_core.request.views import default_norm
from intravisto_core.sites import (
    BlockKind,
    Capability,
    Choice,
    Colour,
    Component,
    Lens,
    NormPolicy,
    Reading,
    ShareMeasure,
)
from intravisto_ui.heatmap import colours
from intravisto_ui.heatmap.colours import Dress
from intravisto_ui.parts.choices import choice
from intravisto_ui.parts.kept import kept
from intravisto_ui.session import edit_marks, jobs, workspace
from intravisto_ui.session.text import escaped, plural
from intravisto_ui.session.workspace import Shown

AUTO = "auto"
COMPARED = (
    "The difference of two runs has a colour of its own: how far each cell moved. Choose baseline or edited above to "
    "choose here."
)
MANY_ROWS, MANY_POSITIONS = 40, 100
STATE_COLOURS = tuple(c for c in Colour if c is not Colour.LOGIT)
UPDATE_COLOURS = (Colour.LOGIT, Colour.ATTENTION, Colour.MLP, Colour.STREAM_NORM, Colour.COSINE)


@dataclass(frozen=True, slots=True)
class Options:
    """What the heatmap shows. notes: what the choices leave out or replace, for the reader."""

    view: HeatmapView
    colour: Colour
    measure: ShareMeasure
    dress: Dress
    notes: tuple[str, ...]


def draw(shown: Shown) -> Options:
    """Draw the line of options; returns what was chosen, with choices that cannot go together put right."""
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
    off = COMPARED if edit_marks.is_difference(workspace.current()) else ""
    component = choice(line, "Component", "component", tuple(Component), 142)
    lens_slot, colour_slot = line.container(width=132, key="lens_slot"), line.container(width=164, key="colour_slot")
    rows = _rows(line, shown.engine.model.n_layers)
    positions = _positions(line, len(shown.trace.tokens))
    with line.popover("More", key="more"):
        norm, reading, measure, dress, strides, hide_first = _more(component, shown, off)
    update = is_update(component, Lens.OUTPUT, norm, reading)
    lens = _lens(lens_slot, shown, update)
    colour = choice(
        colour_slot,
        "Colour",
        "colour",
        UPDATE_COLOURS if update else STATE_COLOURS,
        "stretch",
        why="An update has no probability: it is coloured by change of logit, share, or numbers of the stream."
        if update
        else "",
        off=off,
    )
    watch = (colours.watched(shown),) if colour in colours.WATCHING else ()
    notes = []
    first = 1 if hide_first and positions[0] == 0 and positions[1] > 0 else positions[0]
    if first != positions[0]:
        notes.append(f"Position 0 is left out: 1 of {plural(len(shown.trace.tokens), 'position')}. {_sink(shown)}")
    if rows[1] - rows[0] >= MANY_ROWS * strides[0] or positions[1] - first >= MANY_POSITIONS * strides[1]:
        notes.append("A large picture: it scrolls. Under More it can show every n-th layer or position only.")
    view = HeatmapView(
        shown.trace.id,
        component,
        lens,
        norm,
        rows=_stepped(rows[0], rows[1], strides[0]),
        positions=_stepped(first, positions[1], strides[1]),
        watch=watch,
        reading=reading,
    )
    return Options(view, colour, measure, dress, tuple(notes))


def is_update(component: Component, lens: Lens, norm: NormPolicy | None, reading: Reading) -> bool:
    """Whether cells show changes of logits instead of probabilities (docs/methods.md §3)."""
    return (norm or default_norm(component, lens, reading)) is NormPolicy.STREAM


def _lens(place: Any, shown: Shown, update: bool) -> Lens:
    offered = tuple(lens for lens in Lens if not (update and lens is Lens.MAX))
    why = "Max probability is not offered for updates: a change has no probability." if update else ""
    if shown.engine.model.tied:
        why += " This model's input and output tables are the same one, so all lenses agree."
    return choice(place, "Lens", "lens", offered, "stretch", why)


def _rows(place: Any, n_layers: int) -> tuple[int, int]:
    short = {0: "emb", n_layers + 1: "norm"}
    every = list(range(n_layers + 2))
    return kept(
        place.select_slider,
        "Layers",
        key=f"rows_{n_layers}",
        default=(0, n_layers + 1),
        options=every,
        valid=lambda v: _pair_in(v, every),
        format_func=lambda r: short.get(r, str(r - 1)),
        width=188,
        help="Rows of the picture, from the embeddings (emb) to the final norm (norm).",
    )


def _positions(place: Any, n: int) -> tuple[int, int]:
    if n < 2:
        return (0, 0)
    every = list(range(n))
    return kept(
        place.select_slider,
        "Positions",
        key=f"positions_{n}",
        default=(0, n - 1),
        options=every,
        valid=lambda v: _pair_in(v, every),
        width=188,
        help="Columns of the picture: places in the text.",
    )


def _pair_in(value: Any, every: list[int]) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(v in every for v in value)


def _stepped(first: int, last: int, step: int) -> Selection:
    """All from first to last, or every step-th counted back from the last, which is always there."""
    return Span(first, last + 1) if step == 1 else tuple(range(last, first - 1, -step))[::-1]


def _more(component: Component, shown: Shown, off: str) -> tuple[Any, ...]:
    norm = kept(
        st.selectbox,
        "Norm before the lens",
        key="norm",
        default=AUTO,
        options=[AUTO, *NormPolicy],
        valid=lambda v: v == AUTO or v in tuple(NormPolicy),
        format_func=lambda n: "as fits the component" if n == AUTO else n.label,
        help=_helps(NormPolicy),
    )
    is_block = component is Component.BLOCK
    readings = tuple(r for r in Reading if is_block or r is not Reading.DIFFERENCE)
    reading = choice(
        st,
        "Tokens listed in a cell",
        "reading",
        readings,
        "stretch",
        "" if is_block else "The difference from the row below is offered for the block output.",
        off,
    )
    parallel = shown.engine.model.block == BlockKind.PARALLEL
    measures = tuple(m for m in ShareMeasure if not (parallel and m is ShareMeasure.KL_PAIR))
    measure = choice(
        st,
        "Shares measured by",
        "measure",
        measures,
        "stretch",
        "KL pair compares two parts; in this model's blocks three parts meet." if parallel else "",
    )
    dress = colours.draw()
    pair = st.columns(2)
    strides = tuple(
        kept(place.number_input, label, key=key, default=1, min_value=1, max_value=64, step=1, help=help)
        for place, label, key, help in (
            (pair[0], "Every n-th layer", "row_step", "The topmost row is always shown."),
            (pair[1], "Every n-th position", "position_step", "The last position is always shown."),
        )
    )
    hide = kept(
        st.toggle,
        "Ignore position 0 (attention sink)",
        key="hide_first",
        default=False,
        help="Heads look at the first position when they have nothing to do; its numbers are often extreme.",
    )
    st.html(f'<div class="hint">{escaped(_sink(shown))}</div>')
    return None if norm == AUTO else norm, reading, measure, dress, strides, hide


def _sink(shown: Shown) -> str:
    """How much leaving out position 0 hides."""
    if len(shown.trace.tokens) < 2:
        return "There is no other position."
    if not shown.engine.model.capabilities[Capability.PATTERN].ok:
        return "How much attention goes to it is not known: this model's patterns cannot be shown."
    asked, here = AttentionSinkView(shown.trace.id), workspace.current()
    found = here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "sink"))
    return f"It receives {share(found.share)} of the attention of all others (mean over layers, heads and positions)."


def _helps(kind: type[Choice]) -> str:
    return "  \n".join(f"**{c.label}**: {c.help}" for c in kind)
