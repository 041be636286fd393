"""Taking a comparison away: files, and the lines of Python that make it again."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.request import CompareView
from intravisto_ui.parts import edit_python, export_menu
from intravisto_ui.session import edit_marks
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace


def draw_menu(container: DeltaGenerator, workspace: Workspace, base: Shown, view: CompareView | None) -> None:
    """The export menu of the page. view: of the comparison that is shown; None before there is one."""
    node = workspace.edits.current_node()
    if node is None or view is None:
        help = "There is something to take away after a run with edits."
        with container.popover("Export", disabled=True, help=help):
            st.empty()
        return
    lines = [
        *edit_python.write_edited_run(base, node.cards),
        *edit_python.write_comparison(export_menu.write_arguments(view, "edited")),
    ]
    export_menu.draw_menu(
        container,
        base,
        workspace.id,
        view,
        "difference",
        lines,
        lambda: {"marks": edit_marks.marks_of_run(base, node)},
        in_browser=True,
    )
