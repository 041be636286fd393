"""The patching page: two prompts and their grid, or each part ablated by itself."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.engine import SavedEngine
from intravisto_core.figures.circuit_words import QUESTION as CIRCUIT_QUESTION
from intravisto_core.figures.web import sweep_payload
from intravisto_core.figures.web.patching_payload import QUESTION
from intravisto_ui.parts import edit_switch
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.parts.circuit_start import CIRCUIT, MODE
from intravisto_ui.parts.frame import Headline
from intravisto_ui.patching import circuits, pair_grids, patches, sweeps
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

PATCH, PAIRS, SWEEP = "patch", "pairs", "sweep"
MODES = {PATCH: "two prompts", PAIRS: "many pairs", CIRCUIT: "circuit", SWEEP: "part by part"}
DRAWS = {PATCH: patches.draw, PAIRS: pair_grids.draw, CIRCUIT: circuits.draw, SWEEP: sweeps.draw}
QUESTIONS = {SWEEP: sweep_payload.QUESTION, CIRCUIT: CIRCUIT_QUESTION}
MODE_HELP = (
    "**two prompts**: vectors of one are put into the run of the other.  \n**many pairs**: the same over many pairs of "
    "prompts, with their mean.  \n**circuit**: some heads and MLPs are kept, all others come from the other prompt.  \n"
    "**part by part**: every head or MLP is taken away by itself."
)
SAVED = (
    "This is a saved run, without its model. A grid needs the model: press Run at the left, which loads it and runs "
    "the prompt again."
)


def draw_body(workspace: Workspace, base: Shown, headline: Headline) -> None:
    """Everything under the frame. base: the run without edits, whose prompt the grids begin with."""
    base = _with_open_model(workspace, base)
    headline = replace(headline, model=f'<span class="model">{escape_html(base.engine.model.name)}</span>')
    modes: list[str] = []
    line = headline.draw("", _find_question(workspace), lambda line: modes.append(_draw_mode(line)))
    edit_switch.draw(st.container(key="frame_bar"), workspace.edits)
    if isinstance(base.engine, SavedEngine):
        st.html(f'<div class="hint">{SAVED}</div>')
        return
    DRAWS[modes[0]](workspace, base, line)


def _with_open_model(workspace: Workspace, base: Shown) -> Shown:
    """A grid runs its own prompts: where another model is open by now than the run that is shown had, it is of that."""
    if workspace.engine is None or workspace.spec is None or workspace.spec == base.spec:
        return base
    return replace(base, engine=workspace.engine, spec=workspace.spec)


def _find_question(workspace: Workspace) -> str:
    """The question of what is chosen, which stands before the choice."""
    mode = st.session_state.get(MODE, workspace.options.get(MODE))
    return QUESTIONS.get(mode, QUESTION)


def _draw_mode(line: DeltaGenerator) -> str:
    with line.container(width="content", key="patch_mode_box"):
        return draw_segments("What is run", MODE, MODES, PATCH, help=MODE_HELP, label_visibility="collapsed")
