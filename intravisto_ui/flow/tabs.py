"""The four views of the flow page; only the one that is looked at is computed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_ui.flow import attribution, difference, export, graph, options, panel, route
from intravisto_ui.flow import picture as flow_picture
from intravisto_ui.parts import problems, stage
from intravisto_ui.parts.kept import kept
from intravisto_ui.parts.place_actions import ATTRIBUTION, FLOW, GRAPH, ROUTE
from intravisto_ui.session.workspace import Workspace

TABS = {FLOW: "Flow", GRAPH: "Threshold graph", ATTRIBUTION: "Attribution", ROUTE: "Route"}
QUESTIONS = {
    FLOW: "Where does this prediction come from?",
    GRAPH: "Which contributions are large?",
    ATTRIBUTION: "Which parts wrote this token's score?",
    ROUTE: "Where did each generated token come from?",
}


def switch() -> str:
    """Which view is shown."""
    return kept(
        st.segmented_control,
        "View",
        key="flow_tab",
        default=FLOW,
        valid=lambda v: v in TABS,
        options=list(TABS),
        format_func=TABS.__getitem__,
        required=True,
        label_visibility="collapsed",
    )


def draw(here: Workspace, tab: str, line: Any) -> None:
    """The chosen view; `line` is the headline, for its export menu."""
    difference.said(here, tab)
    DRAWN[tab](here, line)


def _flow(here: Workspace, line: Any) -> None:
    chosen = options.draw(here)
    export.popover(line, here, chosen)
    picture, detail = stage.stage()
    # the panel first: it answers to a click, the picture is already there
    with detail, problems.guarded():
        panel.draw(here, chosen)
    with picture, problems.guarded():
        flow_picture.draw(here, chosen)


DRAWN = {FLOW: _flow, GRAPH: graph.draw, ATTRIBUTION: attribution.draw, ROUTE: route.draw}
