"""From the layer that is looked at to the pictures of the whole way: the threshold graph and the attribution."""

from __future__ import annotations

import streamlit as st

from intravisto_core.records import LayerGraph
from intravisto_ui.parts import flow_start
from intravisto_ui.parts.flow_start import FlowTab
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.workspace import Workspace

WAYS = {
    FlowTab.GRAPH: ("Threshold graph", "Which contributions to this place are large, from the text up to here"),
    FlowTab.ATTRIBUTION: ("Attribution", "What the heads and MLPs of all layers add to the same token"),
}


def draw(workspace: Workspace, graph: LayerGraph, parts: dict[str, tuple[int, int]]) -> None:
    """Two buttons."""
    line = st.container(horizontal=True, gap="small", key="layer_ways")
    for tab, (name, help) in WAYS.items():
        if draw_press(line.button, name, key=f"layer_to_{tab}", help=help):
            flow_start.start_flow_at(workspace, graph.layer + 1, graph.position)
            if tab is FlowTab.ATTRIBUTION and "head" in parts:
                workspace.select_head(parts["head"][0])
            set_kept(flow_tab=tab)
            st.switch_page(flow_start.PAGE)
