"""The four views of the flow page; only the one that is looked at is computed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_ui import (
    flow_attribution,
    flow_difference,
    flow_export,
    flow_graph,
    flow_options,
    flow_panel,
    flow_picture,
    flow_route,
    problems,
)
from intravisto_ui.widgets import kept
from intravisto_ui.workspace import Workspace

FLOW, GRAPH, ATTRIBUTION, ROUTE = "flow", "graph", "attribution", "route"
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
    flow_difference.said(here, tab)
    DRAWN[tab](here, line)


def _flow(here: Workspace, line: Any) -> None:
    chosen = flow_options.draw(here)
    flow_export.popover(line, here, chosen)
    picture, detail = flow_panel.stage()
    # the panel first: it answers to a click, the picture is already there
    with detail, problems.guarded():
        flow_panel.draw(here, chosen)
    with picture, problems.guarded():
        flow_picture.draw(here, chosen)


DRAWN = {FLOW: _flow, GRAPH: flow_graph.draw, ATTRIBUTION: flow_attribution.draw, ROUTE: flow_route.draw}
