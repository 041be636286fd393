"""The panel of the selected cell: its top tokens, how they fare over the layers, what was written there."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from intravisto_core.figures.web import panel_data
from intravisto_core.records import DecodedGrid, row_label
from intravisto_core.request import HeatmapView, SharesView
from intravisto_core.sites import Component
from intravisto_ui.heatmap import cell_parts, trajectory, why
from intravisto_ui.heatmap.cell_parts import CellPart
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import components, edit_actions, flow_start
from intravisto_ui.parts.flow_start import FlowTab
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.parts.question_bar import EXPLAIN
from intravisto_ui.session import jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Workspace

LISTED = 8
WRITES_LISTED = 3


def draw(workspace: Workspace, shown: Shown, chosen: Options) -> None:
    """The panel for the selected cell under the chosen component and lens; one sentence without a selection."""
    row, position = workspace.selection.row, workspace.selection.position
    if row is None or position is None:
        st.html(
            '<div class="title"><b>No cell selected</b></div><div class="under">Click a cell, or move with the '
            "arrow keys. Enter opens a cell, Esc clears.</div>"
        )
        return
    _draw_title(shown, chosen, row, position)
    _draw_actions(workspace, chosen, row, position)
    grid = _decode_cell(workspace, shown, chosen, chosen.view.component, "cell", LISTED)
    pins = trajectory.choose_pins(workspace, shown, grid, position)
    cell = panel_data(grid, row, position, listed=LISTED, pins=pins)
    with st.container(key="cell_tokens"):
        components.draw_panel(
            cell, key="panel", on_pin=lambda i: trajectory.toggle_pin(workspace, position, list(pins), i)
        )
    with st.container(key="cell_more"):
        why.draw(workspace, shown)
        part = cell_parts.draw_switch()
        if part != CellPart.LAYERS:
            cell_parts.draw(workspace, shown, part, row, position, pins, chosen.view.order)
            return
        if pins:
            trajectory.draw(workspace, shown, pins, row, position)
        shares = workspace.read_view(shown.engine, SharesView(shown.trace.id, chosen.measure), "cell-shares")
        writes = [
            _decode_cell(workspace, shown, chosen, c, f"cell-{c}", WRITES_LISTED)
            for c in (Component.ATTENTION, Component.MLP)
        ]
        parts = panel_data(grid, row, position, shares=shares, writes=writes)
        components.draw_panel({**parts, "reason": "", "lists": [], "facts": []}, key="panel_parts")


def _draw_title(shown: Shown, chosen: Options, row: int, position: int) -> None:
    name = escape_html(row_label(row, shown.engine.model.n_layers))
    how = escape_html(f"{chosen.view.component.label} · {chosen.view.lens.label} lens")
    st.html(
        f'<div class="title"><b>{name} · position {position}</b></div>'
        f'<div class="under">reads {token_html(shown.trace.tokens[position].shown)} · {how}</div>'
    )


def _draw_actions(workspace: Workspace, chosen: Options, row: int, position: int) -> None:
    line = edit_actions.draw_cell_actions(workspace, chosen.view.component, row, position)
    help = "Where the token that this position says comes from"
    if draw_press(line.button, "Explain", key="explain_here", help=help):
        st.switch_page(EXPLAIN)
    help = "Where this comes from: follow the flow down from this cell"
    if draw_press(line.button, "Open in flow", key="open_flow", help=help):
        flow_start.start_flow_at(workspace, row, position)
        set_kept(flow_tab=FlowTab.FLOW)
        st.switch_page(flow_start.PAGE)


def _decode_cell(
    workspace: Workspace, shown: Shown, chosen: Options, component: Component, slot: str, top_k: int
) -> DecodedGrid:
    """The selected cell alone, decoded for one component."""
    row, position = workspace.selection.row, workspace.selection.position
    view = HeatmapView(
        shown.trace.id,
        component,
        rows=None if row is None else (row,),
        positions=None if position is None else (position,),
        top_k=top_k,
        order=chosen.view.order,
    )
    if component is chosen.view.component:
        view = replace(view, lens=chosen.view.lens, norm=chosen.view.norm, reading=chosen.view.reading)
    return jobs.compute_view(shown.engine, view, workspace.id, slot)
