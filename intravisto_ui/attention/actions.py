"""What a click on the attention page leads to: an edit that runs at once, or another page at the same place."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.request import Ablate, Intervention, KnockOut
from intravisto_core.sites import Site
from intravisto_ui.parts import claim_test, edit_run, flow_start
from intravisto_ui.parts.flow_start import FlowTab
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

GOING = "attention_going"
DOES = ("ablate", "test", "cut", "test_look", "flow", "attribution")


def take(workspace: Workspace, shown: Shown, act: Report) -> None:
    """Keep what the user did until the page is drawn again: only then another page can be gone to."""
    if act and act.get("rev") == shown.trace.id and act.get("do") in DOES:
        workspace.options[GOING] = dict(act)


def follow(workspace: Workspace) -> None:
    """Go where the last click leads."""
    act: dict[str, Any] | None = workspace.options.pop(GOING, None)
    if act is None:
        return
    layer, head, query, key = (int(act[name]) for name in ("layer", "head", "query", "key"))
    edits: dict[str, Intervention] = {
        "ablate": Ablate(Site.Z, layer, (query,), head=head),
        "cut": KnockOut(layer, (query,), (key,), heads=(head,)),
    }
    if act["do"] in edits:
        edit_run.add_edit(workspace, edits[act["do"]], run=True)
    elif act["do"] in ("test", "test_look"):
        claim_test.open_test_here(workspace, edits["ablate" if act["do"] == "test" else "cut"])
    elif act["do"] == "flow":
        flow_start.start_flow_at(workspace, layer + 1, query)
        set_kept(flow_tab=FlowTab.FLOW)
        st.switch_page(flow_start.PAGE)
    else:
        flow_start.start_flow_at(workspace, layer + 1, query)
        workspace.select_head(head)
        set_kept(flow_tab=FlowTab.ATTRIBUTION)
        st.switch_page(flow_start.PAGE)
