"""Attribution by heads: a map of layers × heads with the MLPs beside it, and all heads in one list."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.head_list import HeadOrder, rank_heads
from intravisto_core.figures.numbers import significant
from intravisto_core.figures.web.heads_payload import LISTED, head_lines, heads_data
from intravisto_core.figures.web.lines import lines_data
from intravisto_core.records import Attribution
from intravisto_core.request import Link
from intravisto_core.sites import Component
from intravisto_ui.flow import link_check
from intravisto_ui.parts import components
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

ORDERS = {
    HeadOrder.SIZE: "the largest first",
    HeadOrder.RAISES: "what raises first",
    HeadOrder.LOWERS: "what lowers first",
    HeadOrder.LAYER: "by layer",
}
ORDER_HELP = (
    "How the list is sorted. Largest: by size, whatever the sign. What raises: the most positive first. What lowers: "
    "the most negative first. The map keeps its order."
)
MEASURED = "flow_heads_measured"
MEASURE = "Measure the listed heads"
MEASURE_HELP = (
    "What a head adds is bookkeeping. This takes each listed head's output away, one at a time, and runs the model on: "
    "the column then says what the score really is without it."
)


def draw_options(line: DeltaGenerator) -> HeadOrder:
    """The order of the list."""
    return draw_named_choice(line, "List", "flow_heads_order", ORDERS, ORDER_HELP, HeadOrder.SIZE, width=170)


def draw(workspace: Workspace, shown: Shown, found: Attribution, order: HeadOrder) -> None:
    """Map and list beside each other."""
    opened: set[str] = workspace.options.setdefault("flow_heads_open", set())
    both = st.container(horizontal=True, gap="small", vertical_alignment="top", key="flow_heads")
    with both.container(key="heads_map"):
        components.draw_heads(heads_data(found), key="flow_heads_map", on_select=workspace.select)
    with both.container(key="heads_list", width="stretch"):
        table = head_lines(found, order, frozenset(opened), _read_without(workspace, shown, found, order))
        components.draw_links(
            lines_data(found.trace, [table]) | {"signed": True},
            key="flow_heads_list",
            on_select=workspace.select,
            on_open=lambda id: opened.symmetric_difference_update({id}),
        )
        _draw_measure(workspace, shown, found, order)


def _listed_links(found: Attribution, order: HeadOrder) -> tuple[Link, ...]:
    listed = rank_heads(found, order)[:LISTED]
    return tuple(
        Link(Component.ATTENTION, int(found.layer[i]), found.position, head=int(found.index[i])) for i in listed
    )


def _read_without(workspace: Workspace, shown: Shown, found: Attribution, order: HeadOrder) -> dict[int, str]:
    """The score without each listed head, where that was measured, by the head's place in the record."""
    view = link_check.ask_of(workspace, shown, _listed_links(found, order), found.position)
    if view not in workspace.kept and workspace.options.get(MEASURED) != view:
        return {}
    check = link_check.check_links(workspace, shown, view)
    without = np.asarray(check.measured) + check.metric
    return dict(zip(rank_heads(found, order), (significant(float(v)) for v in without), strict=False))


def _draw_measure(workspace: Workspace, shown: Shown, found: Attribution, order: HeadOrder) -> None:
    if link_check.is_edited(workspace, shown) or not len(rank_heads(found)):
        return
    view = link_check.ask_of(workspace, shown, _listed_links(found, order), found.position)
    st.button(
        MEASURE,
        key="flow_heads_measure",
        help=MEASURE_HELP,
        disabled=view in workspace.kept,
        on_click=workspace.options.update,
        args=({MEASURED: view},),
    )
