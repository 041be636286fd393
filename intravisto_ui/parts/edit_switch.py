"""The edits in the frame of every page: how many are on, and which run the pages show."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_ui.session.edit_stack import Edits, Look
from intravisto_ui.session.re_aim import count_aside
from intravisto_ui.session.text import plural

PAGE = "pages/injection.py"


def draw(container: DeltaGenerator, edits: Edits) -> None:
    """The chip and, where there is an edited run, the switch; nothing while there are no edits."""
    node = edits.current_node()
    aside = count_aside(edits.aside)
    if not edits.cards and node is None and not aside:
        return
    line = container.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="edits_bar"
    )
    line.page_link(
        PAGE,
        label=f"Edits ({', '.join(filter(None, (f'{len(edits.active_cards())} on', aside)))})",
        help="To the edits and what followed from them. Those of another prompt are set aside.",
    )
    if node is None or node.held is None:
        return
    line.segmented_control(
        "Which run is shown",
        list(Look),
        default=edits.look,
        key=f"look_{node.id}_{edits.look}",
        required=True,
        label_visibility="collapsed",
        on_change=_take_look,
        args=(edits, f"look_{node.id}_{edits.look}"),
        help="baseline: without edits. edited: the run with them. difference: what they changed, cell by cell.",
    )
    if edits.look != Look.BASELINE:
        stale = " The stack has changed since." if edits.is_stale() else ""
        line.html(f'<div class="hint">run with {plural(len(node.cards), "edit")}.{stale}</div>', width="content")


def _take_look(edits: Edits, key: str) -> None:
    edits.look = st.session_state.get(key) or Look.BASELINE
