"""Taking a comparison away: files, and the lines of Python that make it again."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.request import CompareView
from intravisto_ui.parts import edit_python, export_menu
from intravisto_ui.session import edit_marks
from intravisto_ui.session.workspace import Workspace


def popover(place: Any, here: Workspace, view: CompareView | None) -> None:
    """The export menu of the page. view: of the comparison that is shown; None before there is one."""
    node = here.edits.node()
    if node is None or view is None:
        with place.popover("Export", disabled=True, help="There is something to take away after a run with edits."):
            st.empty()
        return
    told = export_menu.arguments(view, "edited")
    export_menu.menu(
        place,
        here,
        view,
        "difference",
        lambda: {"marks": edit_marks.marks_of(here, node)},
        edit_python.compared(told),
        "PNG and SVG: the buttons under the pictures.",
        edit_python.edited_lines(here, node.cards),
    )
