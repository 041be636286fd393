"""What a circuit is asked for: how its parts are ranked, and which of them it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.request import CircuitRequest
from intravisto_core.request.flow import AttributionView
from intravisto_core.sites import Capability, Ranking, Refinement
from intravisto_ui.parts import circuit_start
from intravisto_ui.parts.choices import draw_choice, draw_named_choice
from intravisto_ui.parts.circuit_start import BEST, OWN, SOURCE
from intravisto_ui.patching.pair_list import PairLine
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

REFUSED = "circuit_refused"
SOURCES = {BEST: "the smallest that keeps 80 %", OWN: "my own"}
SOURCE_HELP = (
    "**the smallest that keeps 80 %**: of the parts of largest score, as many as keep 80 % of the lead.  \n**my own**: "
    "as you click it together in the picture, or take it from the attribution."
)
BY_HELP = "How parts are ranked: what the lead is estimated, or measured, to lose without each."
TAKE_HELP = (
    "Takes the heads and MLPs that add most to the answer of the prompt at the left, by size: the list of Flow, "
    "Attribution."
)
NO_PARTS = (
    "parts: expected some heads or MLPs; none was chosen. Measure the smallest circuit first and click parts in its "
    "picture, or take some from the attribution"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """How parts are ranked, and whether they are the user's own."""

    by: Ranking
    source: str


def draw(workspace: Workspace, base: Shown) -> tuple[DeltaGenerator, Chosen]:
    """The fields, and their line, for the Run button."""
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="circuit_options")
    by = draw_choice(line, "Ranked by", "circuit_by", tuple(Ranking), 180, why=BY_HELP)
    source = draw_named_choice(line, "Circuit", SOURCE, SOURCES, SOURCE_HELP, BEST, width=220)
    own = base.engine is base.trace.engine
    heads = base.engine.model.capabilities[Capability.HEADS]
    line.button(
        "Take from attribution",
        key="circuit_take",
        help=TAKE_HELP if own and heads.ok else "Run the prompt at the left on this model first.",
        disabled=not (own and heads.ok),
        on_click=take_largest,
        args=(workspace, base),
    )
    return line, Chosen(by, source)


def take_largest(workspace: Workspace, base: Shown) -> None:
    """The parts that add most to the answer of the prompt at the left, as the circuit."""
    workspace.options[REFUSED] = None
    try:
        asked = find_question(workspace, base, base.trace.prompt_length - 1)
        contrast = None if asked.contrast is None else asked.contrast.typed
        view = AttributionView(base.trace.id, asked.target.typed, contrast, asked.position, by=Refinement.HEADS)
        found = workspace.read_view(base.engine, view, "circuit-attribution")
    except IntravistoError as error:
        workspace.options[REFUSED] = error
        return
    circuit_start.set_parts(workspace, base.spec, circuit_start.list_largest(found))


def build_request(workspace: Workspace, base: Shown, chosen: Chosen, lines: tuple[PairLine, ...]) -> CircuitRequest:
    """The question that the fields ask.

    Raises:
        IntravistoError: something does not fit.
    """
    parts = None
    if chosen.source == OWN:
        parts = circuit_start.read_parts(workspace, base.spec)
        if parts is None:
            raise RequestError(NO_PARTS)
    typed = [tuple(getattr(one, side) or None for one in lines) for side in ("target", "contrast")]
    target, contrast = (tokens if any(tokens) else None for tokens in typed)
    return CircuitRequest(
        parts,
        tuple((one.clean, one.corrupt) for one in lines),
        target,
        contrast,
        by=chosen.by,
        add_special_tokens=base.request.add_special_tokens,
    )
