"""The panel of the selected node or link of the flow: its readings, and its links' exact numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import nats, share
from intravisto_core.figures.web.flow_payload import reading_list
from intravisto_core.figures.web.lines import Line, Lines, lines_data
from intravisto_core.records import row_label
from intravisto_core.records.flow import Flow, HeadShares
from intravisto_core.request.flow import HeadSharesView
from intravisto_core.sites import Component, NodeKind
from intravisto_ui.flow import link_check, lists, picture
from intravisto_ui.flow.options import FlowOptions
from intravisto_ui.parts import components, edit_actions
from intravisto_ui.parts.flow_start import start_flow_at
from intravisto_ui.parts.stage import draw_lower_half
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Workspace

HEADS = 8
OUTSIDE = (
    '<div class="hint">This place is not part of the flow that is drawn: it carries too little of the mass, or lies '
    "outside the rows and positions shown.</div>"
)

EMPTY = (
    '<div class="title"><b>Nothing selected</b></div><div class="under">Click a node or a band of the picture, or move '
    "with the arrow keys; [ and ] go through a node's links. Enter shows the numbers, Esc clears.</div>"
)


def draw(workspace: Workspace, shown: Shown, chosen: FlowOptions) -> None:
    """What is selected of the flow; a sentence where nothing is."""
    selection = workspace.selection
    flow = picture.read_record(workspace, shown, chosen)
    ids = flow.node_id
    if ">" in selection.part:
        source, target = selection.part.split(">", 1)
        pairs = zip(flow.link_source, flow.link_target, strict=True)
        found = next((i for i, (s, t) in enumerate(pairs) if ids[s] == source and ids[t] == target), None)
        if found is not None:
            _draw_link(workspace, shown, chosen, flow, found)
            return
    node = selection.part or f"block.{selection.row}.{selection.position}"
    if selection.row is None or (selection.position is None and not selection.part):
        st.html(EMPTY)
    elif node in ids:
        _draw_node(workspace, flow, ids.index(node))
    else:
        st.html(_title_html(flow, f"block.{selection.row}.{selection.position}" if ">" in node else node))
        st.html(OUTSIDE)
        draw_actions(workspace, selection.row, selection.position)


def _title_html(flow: Flow, node: str, more: str = "") -> str:
    kind, row, position = lists.parse_node(node)
    where = row_label(row, flow.n_layers) + (f" · position {position}" if position >= 0 else "")
    read = f"reads {token_html(lists.glyphs_at(flow.tokens, position))} · " if position >= 0 else ""
    return (
        f'<div class="title"><b>{escape_html(where)}</b></div>'
        f'<div class="under">{read}{escape_html(NodeKind(kind).label)}{more}</div>'
    )


def _draw_node(workspace: Workspace, flow: Flow, i: int) -> None:
    node, position = flow.node_id[i], int(flow.node_position[i])
    mass = f" · <b>{share(float(flow.node_mass[i]))}</b> of the mass"
    st.html(_title_html(flow, node, mass))
    if position >= 0:
        draw_actions(workspace, int(flow.node_row[i]), position)
        edit_actions.draw_cell_actions(workspace, Component(str(flow.node_kind[i])), int(flow.node_row[i]), position)
    readings = [reading_list(flow, int(flow.node_reading[i]), "Reads as")]
    if flow.node_kind[i] == NodeKind.BLOCK:
        readings.append(reading_list(flow, int(flow.node_difference[i]), "Changed since the row below", listed=5))
    _draw_tokens([found for found in readings if found], "flow_node")
    tables = lists.links_at(flow, node)
    with draw_lower_half():
        components.draw_links(lines_data(flow.trace, tables), key="flow_node_links", on_select=workspace.select)


def _draw_tokens(readings: list[dict[str, Any]], key: str) -> None:
    if readings:
        components.draw_panel({"lists": readings}, key=key)


def draw_actions(workspace: Workspace, row: int | None, position: int | None) -> None:
    """Where one can go from a cell."""
    line = st.container(horizontal=True, gap="small", key="flow_actions")
    if row and position is not None:
        line.button(
            "Start here",
            key="flow_from",
            on_click=start_flow_at,
            args=(workspace, row, position),
            help="Follow the flow down from this cell.",
        )
    line.page_link("pages/heatmap.py", label="Open in heatmap")


def _draw_link(workspace: Workspace, shown: Shown, chosen: FlowOptions, flow: Flow, i: int) -> None:
    ids = flow.node_id
    source, target = (ids[int(n)] for n in (flow.link_source[i], flow.link_target[i]))
    kind = lists.kind_of(str(flow.link_kind[i]), source)
    label = {"end": "end of the flow", "mlp": "MLP", "norm": "final norm"}.get(kind, kind)
    st.html(f'<div class="title"><b>{escape_html(label)} link</b></div>')
    lines = []
    for word, node in (("from", source), ("to", target)):
        _, row, position = lists.parse_node(node)
        text, at = lists.glyphs_at(flow.tokens, position), position if position >= 0 else None
        lines.append(
            Line(
                "end",
                f"{word} {lists.node_name(node, flow.n_layers)}",
                text,
                0,
                "",
                row=row,
                position=at,
                part=node,
            )
        )
    components.draw_links(
        lines_data(flow.trace, [Lines("", lines)]) | {"plain": True}, key="flow_link_ends", on_select=workspace.select
    )
    facts = [
        ("mass", share(float(flow.link_mass[i])), "of all that entered at the start"),
        ("share", share(float(flow.link_share[i])), "of what its upper end got"),
        ("KL", nats(float(flow.link_kl[i])), "how far the prediction at the upper end is from that at the lower end"),
    ]
    found = reading_list(flow, int(flow.link_difference[i]), "Changed from lower to upper end", listed=5)
    data = {
        "lists": [found] if found else [],
        "facts": [{"name": n, "value": v, "help": h} for n, v, h in facts if v != "–"],
    }
    components.draw_panel(data, key="flow_link")
    at_kind, row, position = lists.parse_node(target)
    with draw_lower_half():
        if at_kind == NodeKind.ATTENTION and kind == "attention":
            _draw_heads(workspace, shown, chosen, row, position, lists.parse_node(source)[2])
        link_check.draw(workspace, shown, source, target, flow.n_layers, chosen.view.position)


def _draw_heads(workspace: Workspace, shown: Shown, chosen: FlowOptions, row: int, position: int, source: int) -> None:
    """Which heads make up an attention link."""
    view = HeadSharesView(chosen.view.trace, row, position, chosen.view.attention)
    found = read_head_shares(workspace, shown, view)
    data = lines_data(view.trace, [heads_table(found, source, HEADS)])
    components.draw_links(data, key="flow_heads", on_select=workspace.select)
    edit_actions.draw_head_action(workspace, row - 1, position, sort_heads(found, source), "flow_head")


def read_head_shares(workspace: Workspace, shown: Shown, view: HeadSharesView) -> HeadShares:
    """How the attention of a cell divides, asked for once."""
    return workspace.read_view(shown.engine, view, "flow-heads")


def sort_heads(found: HeadShares, source: int) -> list[int]:
    """The heads, those that bring most from a source first."""
    return [int(h) for h in np.argsort(-np.abs(found.shares[:, source]), kind="stable")]


def heads_table(found: HeadShares, source: int, most: int) -> Lines:
    """The heads by what they bring from one source position."""
    own = found.shares[:, source]
    size = float(np.nanmax(np.abs(own))) or 1.0
    order = sort_heads(found, source)[:most]
    lines = [
        Line(
            "attention",
            f"head {int(h)}",
            "",
            float(abs(own[h])) / size,
            lists.brief_share(own[h]),
            lists.brief_share(found.heads[h]),
            negative=bool(own[h] < 0),
        )
        for h in order
    ]
    return Lines(f"Heads, by what they bring from position {source}", lines, ("from here", "in all"))
