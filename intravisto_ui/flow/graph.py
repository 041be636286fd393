"""The contribution-threshold graph: options, picture, and the panel of a state or a step."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.figures.numbers import share
from intravisto_core.figures.web.flow_graph_payload import graph_payload
from intravisto_core.figures.web.lines import Line, Lines, lines_data, part_line
from intravisto_core.figures.words import graph_caption
from intravisto_core.records import Sinks, row_label
from intravisto_core.records.flow import HeadShares
from intravisto_core.records.graph import ContributionGraph
from intravisto_core.request import Ablate, Intervention, Link, Span
from intravisto_core.request.flow import AttributionView, GraphView, HeadSharesView
from intravisto_core.sites import Component, Refinement, Site
from intravisto_ui.flow import link_check, lists, more_options, options, panel
from intravisto_ui.parts import (
    components,
    edit_actions,
    edit_python,
    export_menu,
    layer_start,
    problems,
    sink_switch,
    stage,
)
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.parts.view_options import draw_layer_slider
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, hint_html, token_html
from intravisto_ui.session.workspace import Workspace

LISTED = 8
LEAST = 1e-3  # of a source that is listed


def draw_options(workspace: Workspace, shown: Shown) -> tuple[GraphView, Sinks | None, float]:
    """The line of options: what is asked for, the text's attention sinks, and the scale of the picture."""
    n_layers, line = shown.engine.model.n_layers, stage.draw_option_line()
    row, position, note = options.find_start(workspace, shown, options.draw_start_box(line, shown))
    threshold = draw_kept(
        line.slider,
        "Least share, %",
        key="flow_threshold",
        default=4.0,
        min_value=0.5,
        max_value=60.0,
        step=0.5,
        width=190,
        help="A step is drawn where it makes up at least this share of the state it goes into.",
    )
    found = sink_switch.find_sinks(workspace, shown)
    handling = sink_switch.draw_switch(line, found)
    low, high = draw_layer_slider(line, n_layers, 168)
    scale = more_options.draw_scale_slider(line, 130)
    if note:
        st.html(f'<div class="hint">{escape_html(note)}</div>')
    top = min(high, n_layers if row is None else min(row, n_layers))
    rows = None if (low, top) == (0, n_layers) else Span(min(low, top), top + 1)
    return GraphView(shown.trace.id, row, position, threshold / 100, rows, handling), found, scale


def draw(workspace: Workspace, shown: Shown, line: DeltaGenerator) -> None:
    """The whole view. line: the headline, for the export menu."""
    view, sinks, scale = draw_options(workspace, shown)
    picture_side, panel_side = stage.draw_stage()
    lines = [
        *edit_python.write_shown_run(workspace, shown),
        f"graph = trace.graph({export_menu.write_arguments(view)})",
        'graph.save("graph.html")',
    ]
    export_menu.draw_menu(line, shown, workspace.id, view, "graph", lines, lambda: {"scale": scale}, in_browser=True)
    with picture_side, problems.guard():
        graph = read_record(workspace, shown, view)
        sink_switch.draw_line(sinks, view.sinks)
        payload = workspace.keep((view, scale), lambda: graph_payload(graph, scale, rev=graph.trace))
        components.draw_graph(payload, key="flow_graph", on_select=workspace.select)
        st.html(hint_html(graph_caption(graph)))
    with panel_side, problems.guard():
        _draw_panel(workspace, shown, read_record(workspace, shown, view))


def read_record(workspace: Workspace, shown: Shown, view: GraphView) -> ContributionGraph:
    """The graph, asked for once."""
    return workspace.read_view(shown.engine, view, "flow-graph")


def _draw_panel(workspace: Workspace, shown: Shown, graph: ContributionGraph) -> None:
    selection = workspace.selection
    if selection.row is None or selection.position is None:
        st.html(panel.EMPTY)
        return
    row, position = min(selection.row, graph.n_layers), selection.position
    source, kind = _parse_step(selection.part)
    read = token_html(lists.glyphs_at(graph.tokens, position))
    st.html(
        f'<div class="title"><b>{escape_html(row_label(row, graph.n_layers))} · position {position}</b></div>'
        f'<div class="under">reads {read}{" · " + escape_html(kind) + " step" if kind else " · state"}</div>'
    )
    if row == 0:
        st.html('<div class="hint">The embeddings: nothing was added yet.</div>')
        return
    panel.draw_actions(workspace, row, position)
    line = st.container(horizontal=True, gap="small", key="graph_actions")
    if edit := _write_edit(kind, row, position, source):
        edit_actions.draw_test(line, workspace, edit, "graph_test")
    help = "What the heads and neurons of this layer wrote here."
    if draw_press(line.button, "Layer", key="graph_layer", help=help):
        layer_start.start_layer_at(workspace, shown, row - 1, position)
        st.switch_page(layer_start.PAGE)
    found = panel.read_head_shares(workspace, shown, HeadSharesView(graph.trace, row, position, joint=True))
    if kind == "attention":
        tables = [panel.heads_table(found, source, LISTED), _other_sources(found, graph, row)]
    else:
        tables = _part_lines(found, graph, row, position)
    data = lines_data(graph.trace, tables)
    components.draw_links(data, key="flow_graph_parts", on_select=workspace.select)
    if kind == "attention":
        heads = panel.sort_heads(found, source)
        edit_actions.draw_head_action(workspace, row - 1, position, heads, "flow_graph_head")
    else:
        with stage.draw_lower_half():
            _draw_attribution(workspace, shown, graph, row, position)


def _write_edit(kind: str, row: int, position: int, source: int) -> Intervention | None:
    """What takes away a state, or an attention step; None of a residual step, which no edit takes away by itself."""
    if kind == "attention":
        return link_check.write_edit(Link(Component.ATTENTION, row - 1, position, source=source))
    return None if kind else Ablate(Site.RESID_POST, row - 1, (position,))


def _parse_step(part: str) -> tuple[int, str]:
    """Source position and kind of a step's id; −1 and "" for a state."""
    pieces = part.split(">")
    if len(pieces) != 3:
        return -1, ""
    return lists.parse_node(pieces[0])[2], pieces[2]


def _other_sources(found: HeadShares, graph: ContributionGraph, row: int) -> Lines:
    """Where the attention of this cell looks besides, over all heads."""
    return Lines("All positions it reads", _source_lines(found, graph, row, LISTED), ("share",))


def _source_lines(found: HeadShares, graph: ContributionGraph, row: int, most: int) -> list[Line]:
    sources = found.sources
    order = [int(j) for j in np.argsort(-np.nan_to_num(sources), kind="stable")[:most] if sources[j] >= LEAST]
    return [
        Line(
            "attention",
            f"position {j}",
            lists.glyphs_at(graph.tokens, j),
            float(sources[j]),
            share(float(sources[j])),
            row=row - 1,
            position=j,
            part=f"block.{row - 1}.{j}>block.{found.row}.{found.position}>attention",
        )
        for j in order
    ]


def _part_lines(found: HeadShares, graph: ContributionGraph, row: int, position: int) -> list[Lines]:
    """All parts of a state in the joint form; and where it joins later, the MLP, whose share is of another sum."""
    stay = Line(
        "residual",
        "the state below",
        "",
        found.residual,
        share(found.residual),
        row=row - 1,
        position=position,
        part=f"block.{row - 1}.{position}",
    )
    lines = [stay, *_source_lines(found, graph, row, LISTED)]
    if found.intervention >= LEAST:
        edit = found.intervention
        lines.append(Line("end", "put in by an edit", "", edit, share(edit)))
    if np.isfinite(found.mlp):
        lines.append(Line("mlp", "MLP", "", found.mlp, share(found.mlp)))
    at = np.flatnonzero((graph.node_row == row) & (graph.node_position == position))
    tables = [Lines("Of what joins there with attention", lines, ("share",))]
    if at.size and np.isfinite(graph.node_mlp[at[0]]) and not np.isfinite(found.mlp):
        mlp = float(graph.node_mlp[at[0]])
        both = [Line("mlp", "MLP", "", mlp, share(mlp)), Line("residual", "the rest", "", 1 - mlp, share(1 - mlp))]
        tables.append(Lines("Of the block's output", both, ("share",)))
    return tables


def _draw_attribution(workspace: Workspace, shown: Shown, graph: ContributionGraph, row: int, position: int) -> None:
    """What this layer adds, at this position, to the token asked about."""
    asked = find_question(workspace, shown, position)
    target, contrast = asked.target.typed, None if asked.contrast is None else asked.contrast.typed
    layer = row - 1
    view = AttributionView(graph.trace, target, contrast, position, Refinement.HEADS, layer)
    found = workspace.read_view(shown.engine, view, "flow-node-attribution")
    own = [i for i in range(len(found.value)) if found.layer[i] == layer]
    own.sort(key=lambda i: -abs(found.value[i]))
    size = max((abs(float(found.value[i])) for i in own), default=0.0) or 1.0
    lines = [part_line(found, i, size) for i in own[:LISTED]]
    against = f" over {found.contrast}" if found.contrast_id >= 0 else ""
    title = f"What this layer adds to {found.target}{against} (logit)"
    data = lines_data(graph.trace, [Lines(title, lines, ("change",))]) | {"signed": True}
    components.draw_links(data, key="flow_graph_attribution", on_select=workspace.select)
