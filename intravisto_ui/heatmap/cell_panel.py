"""The panel of the selected cell: its top tokens, how they fare over the layers, what was written there."""

from __future__ import annotations

import streamlit as st

from intravisto_core.figures.web import panel_data
from intravisto_core.records import DecodedGrid, Shares, row_label
from intravisto_core.request import HeatmapView, SharesView
from intravisto_core.sites import Component
from intravisto_ui.heatmap import cell_parts, trajectory, why
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import components, place_actions
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escaped, token
from intravisto_ui.session.workspace import Workspace

LISTED = 8


def draw(here: Workspace, chosen: Options) -> None:
    """The panel for the selected cell under the chosen component and lens; one sentence without a selection."""
    shown, place = here.shown, here.place
    if shown is None or place.row is None or place.position is None:
        st.html(
            '<div class="title"><b>No cell selected</b></div><div class="under">Click a cell, or move with the '
            "arrow keys. Enter opens a cell, Esc clears.</div>"
        )
        return
    view, row, position = chosen.view, place.row, place.position
    read = shown.trace.tokens[position].shown
    name = escaped(row_label(row, shown.engine.model.n_layers))
    how = escaped(f"{view.component.label} · {view.lens.label} lens")
    st.html(
        f'<div class="title"><b>{name} · position {position}</b></div>'
        f'<div class="under">reads {token(read)} · {how}</div>'
    )
    line = place_actions.draw(here, view.component, row, position)
    if line.button("Open in flow", key="open_flow", help="Where this comes from: follow the flow down from this cell"):
        place_actions.start_here(row, position)
        set_kept(flow_tab=place_actions.FLOW)
        st.switch_page("pages/flow.py")
    grid = _look(here, chosen, view.component, "cell", top_k=LISTED)
    pins = trajectory.pins(here, grid, position)
    cell = panel_data(grid, row, position, listed=LISTED, pins=pins)
    with st.container(key="cell_tokens"):
        components.panel(cell, key="panel", on_pin=lambda i: trajectory.toggle(here, position, list(pins), i))
    with st.container(key="cell_more"):
        why.draw(here)
        part = cell_parts.switch()
        if part != cell_parts.LAYERS:
            cell_parts.draw(here, part, row, position, pins)
            return
        if pins:
            trajectory.draw(here, pins, row, position)
        parts = panel_data(grid, row, position, shares=_shares(here, chosen), writes=_writes(here, chosen))
        components.panel({**parts, "reason": "", "lists": [], "facts": []}, key="panel_parts")


def _look(here: Workspace, chosen: Options, component: Component, slot: str, top_k: int) -> DecodedGrid:
    """The selected cell alone, decoded for one component."""
    assert here.shown is not None
    assert here.place.row is not None
    assert here.place.position is not None
    view = chosen.view
    own = component is view.component
    asked = HeatmapView(
        view.trace,
        component,
        view.lens if own else "output",
        view.norm if own else None,
        (here.place.row,),
        (here.place.position,),
        top_k,
        reading=view.reading if own else "top",
    )
    return jobs.view(here.shown.engine, asked, here.id, slot)


def _writes(here: Workspace, chosen: Options) -> list[DecodedGrid]:
    return [_look(here, chosen, c, f"cell-{c}", top_k=3) for c in (Component.ATTENTION, Component.MLP)]


def _shares(here: Workspace, chosen: Options) -> Shares:
    assert here.shown is not None
    asked = SharesView(chosen.view.trace, chosen.measure)
    return here.payload(asked, lambda: jobs.view(here.shown.engine, asked, here.id, "cell-shares"))
