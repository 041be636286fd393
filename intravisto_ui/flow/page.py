"""The flow page: one of four views; only the one that is looked at is computed."""

from __future__ import annotations

from intravisto_ui.flow import attribution, difference, flow_view, graph, route
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.parts.flow_start import FlowTab
from intravisto_ui.parts.frame import Headline, describe_selection, draw_strip
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

TABS = {
    FlowTab.FLOW: "Flow",
    FlowTab.GRAPH: "Threshold graph",
    FlowTab.ATTRIBUTION: "Attribution",
    FlowTab.ROUTE: "Route",
}
QUESTIONS = {
    FlowTab.FLOW: "Where does this prediction come from?",
    FlowTab.GRAPH: "Which contributions are large?",
    FlowTab.ATTRIBUTION: "Which parts wrote this token's score?",
    FlowTab.ROUTE: "Where did each generated token come from?",
}
QUESTION = QUESTIONS[FlowTab.FLOW]
DRAW = {
    FlowTab.FLOW: flow_view.draw,
    FlowTab.GRAPH: graph.draw,
    FlowTab.ATTRIBUTION: attribution.draw,
    FlowTab.ROUTE: route.draw,
}


def draw_body(workspace: Workspace, shown: Shown, headline: Headline) -> None:
    """Everything under the frame."""
    draw_strip(workspace, shown)
    tab = draw_segments("View", "flow_tab", TABS, FlowTab.FLOW, label_visibility="collapsed")
    line = headline.draw(describe_selection(workspace, shown), QUESTIONS[tab])
    difference.draw_hint(workspace, shown, tab)
    DRAW[tab](workspace, shown, line)
