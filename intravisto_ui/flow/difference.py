"""What edits changed of a flow: the links whose mass differs most between the baseline's flow and the edited run's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import share
from intravisto_core.figures.web.flow_payload import LinkMark
from intravisto_core.figures.web.lines import Line, Lines, lines_data
from intravisto_core.records.flow import Flow
from intravisto_core.request.flow import FlowView
from intravisto_ui.flow import lists
from intravisto_ui.parts import components
from intravisto_ui.parts.flow_start import FlowTab
from intravisto_ui.session import jobs
from intravisto_ui.session.edit_stack import Look
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

Change = tuple[str, str, str, float, float]
LISTED = 12
LEAST = 1e-4  # of the mass: links below it count as none
HINTS = {
    FlowTab.FLOW: "The picture is the edited run's flow. Numbered are the links whose mass the edits changed "
    "most; they are listed below it, beside the baseline's.",
    FlowTab.GRAPH: "Shown is the edited run's graph. Two graphs are not subtracted: look at <b>baseline</b> to "
    "compare.",
    FlowTab.ATTRIBUTION: "Shown are the parts of the edited run's score. Look at <b>baseline</b> to compare.",
    FlowTab.ROUTE: "Shown is the edited run's route. Look at <b>baseline</b> to compare.",
}


def is_shown(workspace: Workspace, shown: Shown) -> bool:
    """Whether the switch of runs stands at the difference, and there is an edited run."""
    edited = workspace.base is not None and shown.trace.id != workspace.base.trace.id
    return edited and workspace.edits.look == Look.DIFFERENCE


def draw_hint(workspace: Workspace, shown: Shown, tab: FlowTab) -> None:
    """One line that says what a view shows where the switch stands at the difference."""
    if is_shown(workspace, shown):
        st.html(f'<div class="hint">{HINTS[tab]}</div>')


def largest_changes(before: Flow, after: Flow, most: int = LISTED) -> list[Change]:
    """Source, target and kind of the links whose mass changed most, and their mass before and after."""
    sides = [_masses(flow) for flow in (before, after)]
    keys = sorted(set(sides[0]) | set(sides[1]))
    masses = np.array([[side.get(key, 0.0) for side in sides] for key in keys]).reshape(-1, 2)
    order = np.argsort(-np.abs(masses[:, 1] - masses[:, 0]), kind="stable")[:most]
    picked = [(keys[i], *masses[i].tolist()) for i in order if masses[i, 0] != masses[i, 1]]
    return [(*key, first, second) for key, first, second in picked]


def _masses(flow: Flow) -> dict[tuple[str, str, str], float]:
    ids = flow.node_id
    columns = (flow.link_source.tolist(), flow.link_target.tolist(), flow.link_kind, flow.link_mass.tolist())
    return {(ids[s], ids[t], str(kind)): mass for s, t, kind, mass in zip(*columns, strict=True)}


def find_changes(workspace: Workspace, shown: Shown, view: FlowView) -> list[Change]:
    """What changed in the flow of a view; nothing where no difference is looked at."""
    base = workspace.base
    if base is None or not is_shown(workspace, shown):
        return []
    after = replace(view, top_k=None, min_weight=0.0, min_mass=LEAST, details=False, max_nodes=None, max_links=None)
    before = replace(after, trace=base.trace.id)

    def make() -> list[Change]:
        return largest_changes(
            jobs.compute_view(base.engine, before, workspace.id, "flow-before"),
            jobs.compute_view(base.engine, after, workspace.id, "flow-after"),
        )

    return workspace.keep((before, after, "changes"), make)


def mark_changes(workspace: Workspace, shown: Shown, view: FlowView) -> tuple[LinkMark, ...]:
    """The links that changed most, numbered as they are listed."""
    found = find_changes(workspace, shown, view)
    return tuple(LinkMark(source, target, i) for i, (source, target, *_) in enumerate(found, start=1))


def draw(workspace: Workspace, shown: Shown, view: FlowView, n_layers: int) -> None:
    """The list under the picture."""
    if not is_shown(workspace, shown):
        return
    found = find_changes(workspace, shown, view)
    st.html('<div class="cap">What the edits changed most (mass in the baseline, and in the edited run)</div>')
    if not found:
        st.html('<div class="hint">No link differs by any of its mass.</div>')
        return
    data = _change_list(shown, view, found, n_layers)
    components.draw_links(data, key="flow_changes", on_select=workspace.select)


def _change_list(shown: Shown, view: FlowView, changes: list[Change], n_layers: int) -> dict[str, Any]:
    tokens, lines = shown.trace.tokens, []
    for i, (source, target, kind, first, second) in enumerate(changes, start=1):
        _, row, position = lists.parse_node(target)
        name = f"{i}. {lists.node_name(source, n_layers)} → {lists.node_name(target, n_layers)}"
        lines.append(
            Line(
                kind=lists.kind_of(kind, source),
                name=name,
                token=lists.glyphs_at(tokens, lists.parse_node(source)[2]),
                size=min(1.0, abs(second)),
                number=share(first),
                aside=share(second),
                negative=second < 0,
                row=row,
                position=position,
                part=f"{source}>{target}",
            )
        )
    return lines_data(view.trace, [Lines("", lines, ("baseline", "edited"))]) | {"wide": True}
