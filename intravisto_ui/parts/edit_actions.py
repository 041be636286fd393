"""From a cell of a picture to an edit of it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.request import Ablate, Intervention
from intravisto_core.sites import Component, Site
from intravisto_ui.parts import claim_test, edit_run, edit_switch
from intravisto_ui.parts.edit_values import TokenSpan, fill_form
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.workspace import Workspace

SITES = {
    Component.BLOCK: Site.RESID_POST,
    Component.MID: Site.RESID_MID,
    Component.ATTENTION: Site.ATTN_OUT,
    Component.MLP: Site.MLP_OUT,
}


def draw_cell_actions(workspace: Workspace, component: Component, row: int, position: int) -> DeltaGenerator:
    """Two buttons for the cell of a component: put a token in there, or take it away. row: a heatmap row.

    Returns their line, for more buttons. The embeddings are the input of the first block; at the final norm there is
    nothing to edit.
    """
    line = st.container(horizontal=True, gap="small", key="edit_here")
    if workspace.base is None or row > workspace.base.engine.model.n_layers:
        return line
    site, layer = (SITES[component], row - 1) if row else (Site.RESID_PRE, 0)
    if draw_press(line.button, "Inject here", key="inject_here", help="Put a token's vector in at this place"):
        prefill_form(workspace, "inject", site, layer, position)
        st.switch_page(edit_switch.PAGE)
    what = Ablate(site, layer, (position,))
    edit_run.draw_offer(line, workspace, what, "Ablate here", "ablate_here")
    draw_test(line, workspace, what, "test_here")
    return line


def draw_head_action(workspace: Workspace, layer: int, position: int, heads: Sequence[int], key: str) -> None:
    """One of the heads that a panel lists, to be taken away at its position. heads: the first is offered first."""
    if workspace.base is None or not len(heads):
        return
    line = st.container(horizontal=True, gap="small", vertical_alignment="bottom", key=f"{key}_line")
    chosen = line.selectbox(
        "Head",
        list(heads),
        format_func=lambda h: f"head {h}",
        key=f"{key}_{layer}_{position}",
        label_visibility="collapsed",
        width=110,
    )
    what = Ablate(Site.Z, layer, (position,), head=int(chosen))
    edit_run.draw_offer(line, workspace, what, "Ablate this head", f"{key}_ablate")
    draw_test(line, workspace, what, f"{key}_test")


def draw_test(line: DeltaGenerator, workspace: Workspace, what: Intervention, key: str) -> None:
    """A button that tests what a cell, a head or a link is said to do."""
    if draw_press(line.button, "Test this", key=key, help=claim_test.HELP):
        claim_test.open_test_here(workspace, what)


def prefill_form(workspace: Workspace, kind: str, site: Site, layer: int, position: int) -> None:
    """Put a cell of a picture into the form of the injection page."""
    workspace.options["edit_id"] = None
    site_key = "stream_site" if kind in ("inject", "steer") else "site"
    values = {"kind": kind, site_key: site, "layer": layer, "span": TokenSpan.CHOSEN, "positions": [position]}
    fill_form(workspace, values)
