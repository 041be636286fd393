"""The panel of the selected node or link of the flow: its readings, and its links' exact numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import nats, share
from intravisto_core.figures.web.flow_payload import reading_list
from intravisto_core.figures.web.lines import Line, Lines
from intravisto_core.figures.web.lines import lines_data as packed
from intravisto_core.records import row_label
from intravisto_core.records.flow import Flow, HeadShares
from intravisto_core.request.flow import HeadSharesView
from intravisto_core.sites import Component, NodeKind
from intravisto_ui.flow import link_check, picture
from intravisto_ui.flow import lists as flow_lists
from intravisto_ui.flow.options import FlowOptions
from intravisto_ui.parts import components, place_actions
from intravisto_ui.parts.place_actions import start_here
from intravisto_ui.parts.stage import second_half
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escaped, token
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


def draw(here: Workspace, chosen: FlowOptions) -> None:
    """What is selected of the flow; a sentence where nothing is."""
    place = here.place
    flow = picture.record(here, chosen)
    ids = flow.node_id
    if ">" in place.part:
        source, target = place.part.split(">", 1)
        pairs = zip(flow.link_source, flow.link_target, strict=True)
        found = next((i for i, (s, t) in enumerate(pairs) if ids[s] == source and ids[t] == target), None)
        if found is not None:
            _link(here, chosen, flow, found)
            return
    node = place.part or f"block.{place.row}.{place.position}"
    if place.row is None or (place.position is None and not place.part):
        st.html(EMPTY)
    elif node in ids:
        _node(here, flow, ids.index(node))
    else:
        st.html(_title(flow, f"block.{place.row}.{place.position}" if ">" in node else node))
        st.html(OUTSIDE)
        actions(here, place.row, place.position)


def _title(flow: Flow, node: str, more: str = "") -> str:
    kind, row, position = flow_lists.place_of(node)
    where = row_label(row, flow.n_layers) + (f" · position {position}" if position >= 0 else "")
    read = f"reads {token(flow_lists.shown_at(flow.tokens, position))} · " if position >= 0 else ""
    return (
        f'<div class="title"><b>{escaped(where)}</b></div>'
        f'<div class="under">{read}{escaped(NodeKind(kind).label)}{more}</div>'
    )


def _node(here: Workspace, flow: Flow, i: int) -> None:
    node, position = flow.node_id[i], int(flow.node_position[i])
    mass = f" · <b>{share(float(flow.node_mass[i]))}</b> of the mass"
    st.html(_title(flow, node, mass))
    if position >= 0:
        actions(here, int(flow.node_row[i]), position)
        place_actions.draw(here, Component(str(flow.node_kind[i])), int(flow.node_row[i]), position)
    lists = [reading_list(flow, int(flow.node_reading[i]), "Reads as")]
    if flow.node_kind[i] == NodeKind.BLOCK:
        lists.append(reading_list(flow, int(flow.node_difference[i]), "Changed since the row below", listed=5))
    _tokens([found for found in lists if found], "flow_node")
    tables = flow_lists.links_at(flow, node)
    with second_half():
        components.links(packed(flow.trace, tables), key="flow_node_links", on_select=here.select)


def _tokens(lists: list[dict[str, Any]], key: str) -> None:
    if lists:
        components.panel({"lists": lists}, key=key)


def actions(here: Workspace, row: int | None, position: int | None) -> None:
    """Where one can go from a cell."""
    line = st.container(horizontal=True, gap="small", key="flow_actions")
    if row and position is not None:
        line.button(
            "Start here",
            key="flow_from",
            on_click=start_here,
            args=(row, position),
            help="Follow the flow down from this cell.",
        )
    line.page_link("pages/heatmap.py", label="Open in heatmap")


def _link(here: Workspace, chosen: FlowOptions, flow: Flow, i: int) -> None:
    ids = flow.node_id
    source, target = (ids[int(n)] for n in (flow.link_source[i], flow.link_target[i]))
    kind = flow_lists.kind_of(str(flow.link_kind[i]), source)
    label = {"end": "end of the flow", "mlp": "MLP", "norm": "final norm"}.get(kind, kind)
    st.html(f'<div class="title"><b>{escaped(label)} link</b></div>')
    lines = []
    for word, node in (("from", source), ("to", target)):
        _, row, position = flow_lists.place_of(node)
        text, at = flow_lists.shown_at(flow.tokens, position), position if position >= 0 else None
        lines.append(
            Line(
                "end",
                f"{word} {flow_lists.node_name(node, flow.n_layers)}",
                text,
                0,
                "",
                row=row,
                position=at,
                part=node,
            )
        )
    components.links(
        packed(flow.trace, [Lines("", lines)]) | {"plain": True}, key="flow_link_ends", on_select=here.select
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
    components.panel(data, key="flow_link")
    at_kind, row, position = flow_lists.place_of(target)
    with second_half():
        if at_kind == NodeKind.ATTENTION and kind == "attention":
            _heads(here, chosen, row, position, flow_lists.place_of(source)[2])
        link_check.draw(here, source, target, flow.n_layers, chosen.view.position)


def _heads(here: Workspace, chosen: FlowOptions, row: int, position: int, source: int) -> None:
    """Which heads make up an attention link."""
    view = chosen.view
    asked = HeadSharesView(view.trace, row, position, view.attention)
    found = head_shares(here, asked)
    components.links(
        packed(view.trace, [heads_table(found, source, HEADS)]),
        key="flow_heads",
        on_select=here.select,
    )
    place_actions.head(here, row - 1, position, strongest(found, source), "flow_head")


def head_shares(here: Workspace, asked: HeadSharesView) -> HeadShares:
    """How the attention of a cell divides, asked for once."""
    shown = here.shown
    assert shown is not None
    return here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "flow-heads"))


def strongest(found: HeadShares, source: int) -> list[int]:
    """The heads, those that bring most from a source first."""
    return [int(h) for h in np.argsort(-np.abs(found.shares[:, source]), kind="stable")]


def heads_table(found: HeadShares, source: int, most: int) -> Lines:
    """The heads by what they bring from one source position."""
    own = found.shares[:, source]
    size = float(np.nanmax(np.abs(own))) or 1.0
    order = strongest(found, source)[:most]
    lines = [
        Line(
            "attention",
            f"head {int(h)}",
            "",
            float(abs(own[h])) / size,
            flow_lists.brief_share(own[h]),
            flow_lists.brief_share(found.heads[h]),
            negative=bool(own[h] < 0),
        )
        for h in order
    ]
    return Lines(f"Heads, by what they bring from position {source}", lines, ("from here", "in all"))
