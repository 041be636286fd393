"""From a place in a picture to an edit of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.request import Ablate
from intravisto_core.sites import Component, Site
from intravisto_ui import edit_form, edit_switch
from intravisto_ui.workspace import Workspace

SITES = {
    Component.BLOCK: Site.RESID_POST,
    Component.MID: Site.RESID_MID,
    Component.ATTENTION: Site.ATTN_OUT,
    Component.MLP: Site.MLP_OUT,
}


def draw(here: Workspace, component: Component, row: int, position: int) -> Any:
    """Two buttons for the cell of a component: put a token in there, or take it away. row: a heatmap row. Gives their
    line.

    The embeddings are the input of the first block; at the final norm there is nothing to edit.
    """
    line = st.container(horizontal=True, gap="small", key="edit_here")
    if here.base is None or row > here.base.engine.model.n_layers:
        return line
    site, layer = (SITES[component], row - 1) if row else (Site.RESID_PRE, 0)
    if line.button("Inject here", key="inject_here", help="Put a token's vector in at this place"):
        edit_form.prefill("inject", site, layer, position)
        st.switch_page(edit_switch.PAGE)
    if line.button("Ablate here", key="ablate_here", help="Run again with nothing at this place"):
        here.edits.add(Ablate(site, layer, (position,)))
        st.switch_page(edit_switch.PAGE)
    return line
