"""From a cell of another page to the flow that starts there."""

from __future__ import annotations

from enum import StrEnum

from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.workspace import Workspace

PAGE = "pages/flow.py"


class FlowStart(StrEnum):
    """Where a flow begins."""

    SELECTED_CELL = "selected cell"
    LAST_POSITION = "last position"
    ALL_GENERATED = "all generated"


class FlowTab(StrEnum):
    """The views of the flow page."""

    FLOW = "flow"
    GRAPH = "graph"
    ATTRIBUTION = "attribution"
    ROUTE = "route"


def start_flow_at(workspace: Workspace, row: int, position: int) -> None:
    """Select a cell, and let the flow begin there."""
    set_kept(flow_start=FlowStart.SELECTED_CELL)
    workspace.select_cell(row, position)
