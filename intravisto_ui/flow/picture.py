"""The flow itself: record, payload, component, and under it what is conserved, drawn and cut."""

from __future__ import annotations

import streamlit as st

from intravisto_core.figures.numbers import significant
from intravisto_core.figures.web.flow_payload import LinkMark, flow_payload
from intravisto_core.figures.words import flow_caption
from intravisto_core.records.flow import Disagreement, Flow
from intravisto_ui.flow import difference, link_check, lists
from intravisto_ui.flow.options import FlowOptions
from intravisto_ui.parts import components, sink_switch
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, hint_html
from intravisto_ui.session.workspace import Workspace

SLOT = "flow"
MARKED = 12


def draw(workspace: Workspace, shown: Shown, chosen: FlowOptions) -> None:
    """The picture of the chosen view, and under it what a reader must know."""
    flow, other = read_record(workspace, shown, chosen), read_disagreement(workspace, shown, chosen)
    sink_switch.draw_line(chosen.found, flow.sinks, float(flow.lost[2]))
    numbered = mark_disagreement(other) or difference.mark_changes(workspace, shown, chosen.view)
    payload = workspace.keep(
        (chosen.view, chosen.style, numbered),
        lambda: flow_payload(flow, chosen.style, numbered, rev=flow.trace),
    )
    components.draw_flow(payload, key="flow_picture", on_select=workspace.select)
    if other is not None:
        _draw_disagreement(workspace, other)
    difference.draw(workspace, shown, chosen.view, flow.n_layers)
    st.html(hint_html((*chosen.notes, *flow_caption(flow))))
    link_check.draw_checks(workspace, shown, flow, chosen.view)


def read_record(workspace: Workspace, shown: Shown, chosen: FlowOptions) -> Flow:
    """The flow, asked for once."""
    return workspace.read_view(shown.engine, chosen.view, SLOT)


def read_disagreement(workspace: Workspace, shown: Shown, chosen: FlowOptions) -> Disagreement | None:
    """Where another measure disagrees, if that was asked for."""
    return None if chosen.other is None else workspace.read_view(shown.engine, chosen.other, f"{SLOT}-other")


def mark_disagreement(other: Disagreement | None) -> tuple[LinkMark, ...]:
    """The links that differ most, numbered as they are listed."""
    if other is None:
        return ()
    pairs = zip(other.source[:MARKED], other.target[:MARKED], strict=True)
    return tuple(LinkMark(str(s), str(t), i + 1) for i, (s, t) in enumerate(pairs))


def _draw_disagreement(workspace: Workspace, other: Disagreement) -> None:
    first, second = (m.label for m in other.measures)
    agree = (
        f"Over all {other.n_links:,} links the two orders agree by {significant(other.agreement)} (Spearman's "
        "correlation; 1 is full agreement). Numbered in the picture where the link is drawn."
    )
    st.html(f'<div class="cap">Where {escape_html(first)} and {escape_html(second)} disagree most</div>')
    st.html(f'<div class="hint">{escape_html(" ".join((agree, *other.notes)))}</div>')
    components.draw_links(lists.disagreement_list(other, MARKED), key="flow_disagreement", on_select=workspace.select)
