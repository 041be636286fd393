"""The flow itself: record, payload, component, and under it what is conserved, drawn and cut."""

from __future__ import annotations

import streamlit as st

from intravisto_core.figures.numbers import significant
from intravisto_core.figures.web.flow_payload import LinkMark, flow_payload
from intravisto_core.figures.words import flow_caption as caption
from intravisto_core.records.flow import Disagreement, Flow
from intravisto_ui.flow import difference, link_check, lists
from intravisto_ui.flow.options import FlowOptions
from intravisto_ui.parts import components
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escaped, hints
from intravisto_ui.session.workspace import Workspace

SLOT = "flow"
MARKED = 12


def draw(here: Workspace, chosen: FlowOptions) -> None:
    """The picture of the chosen view, and under it what a reader must know."""
    flow, other = record(here, chosen), disagreement(here, chosen)
    numbered = marks(other) or difference.marks(here, chosen.view)
    payload = here.payload(
        (chosen.view, chosen.dress, numbered),
        lambda: flow_payload(flow, chosen.dress, numbered, rev=flow.trace),
    )
    components.flow(payload, key="flow_picture", on_select=here.select)
    if other is not None:
        _disagreement(here, other)
    difference.draw(here, chosen.view, flow.n_layers)
    st.html(hints((*chosen.notes, *caption(flow))))
    link_check.many(here, flow, chosen.view)


def record(here: Workspace, chosen: FlowOptions) -> Flow:
    """The flow, asked for once."""
    shown = here.shown
    assert shown is not None
    return here.payload(chosen.view, lambda: jobs.view(shown.engine, chosen.view, here.id, SLOT))


def disagreement(here: Workspace, chosen: FlowOptions) -> Disagreement | None:
    """Where another measure disagrees, if that was asked for."""
    shown, asked = here.shown, chosen.other
    if asked is None or shown is None:
        return None
    return here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, f"{SLOT}-other"))


def marks(other: Disagreement | None) -> tuple[LinkMark, ...]:
    """The links that differ most, numbered as they are listed."""
    if other is None:
        return ()
    pairs = zip(other.source[:MARKED], other.target[:MARKED], strict=True)
    return tuple(LinkMark(str(s), str(t), i + 1) for i, (s, t) in enumerate(pairs))


def _disagreement(here: Workspace, other: Disagreement) -> None:
    first, second = (m.label for m in other.measures)
    agree = (
        f"Over all {other.n_links:,} links the two orders agree by {significant(other.agreement)} (Spearman's "
        "correlation; 1 is full agreement). Numbered in the picture where the link is drawn."
    )
    st.html(f'<div class="cap">Where {escaped(first)} and {escaped(second)} disagree most</div>')
    st.html(f'<div class="hint">{escaped(" ".join((agree, *other.notes)))}</div>')
    components.links(lists.disagreement(other, MARKED), key="flow_disagreement", on_select=here.select)
