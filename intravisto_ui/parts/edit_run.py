"""Running the edits that are on, from wherever an edit is offered."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.request import Intervention, in_words
from intravisto_ui.parts import edit_sources, edit_switch
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace


def run_edits(workspace: Workspace, base: Shown, story: str = "") -> None:
    """Run the cards that are on; prompts that they take values from are run first, where they have not been."""
    edits = workspace.edits
    edits.refusal = None
    free = bool(workspace.options.get("edits_free", True))
    try:
        changes = [edit_sources.resolve_source(workspace, base, card.what) for card in edits.active_cards()]
        edits.run(base.trace, workspace.id, free, changes, story)
    except IntravistoError as error:
        edits.refusal = error


def draw_offer(container: DeltaGenerator, workspace: Workspace, what: Intervention, label: str, key: str) -> None:
    """A button that offers an edit: to be run at once, or only added to the others."""
    with container.popover(label, key=key):
        st.html(f'<div class="hint">{escape_html(in_words(what))}.</div>')
        others = len(workspace.edits.active_cards())
        beside = f", with {plural(others, 'other edit')} that {'is' if others == 1 else 'are'} on" if others else ""
        line = st.container(horizontal=True, gap="small", key=f"{key}_line")
        help = f"Runs the prompt again with this edit{beside}"
        run = draw_press(line.button, "Run it now", key=f"{key}_run", help=help)
        help = "Puts it with the edits; you run them later"
        add = draw_press(line.button, "Only add it", key=f"{key}_add", help=help)
    if run or add:
        add_edit(workspace, what, run)


def add_edit(workspace: Workspace, what: Intervention, run: bool) -> None:
    """Add an edit to the stack, and go to the injection page; run: the stack at once, so that the page shows it."""
    if workspace.base is None:
        return
    workspace.edits.add(what)
    if run:
        run_edits(workspace, workspace.base)
    st.switch_page(edit_switch.PAGE)
