"""The contribution-threshold graph: options, picture, and the panel of a state or a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import share
from intravisto_core.figures.web.flow_graph_payload import graph_payload
from intravisto_core.figures.web.lines import Line, Lines, part_line
from intravisto_core.figures.web.lines import lines_data as packed
from intravisto_core.figures.words import graph_caption
from intravisto_core.records import row_label
from intravisto_core.records.flow import HeadShares
from intravisto_core.records.graph import ContributionGraph
from intravisto_core.request import Span
from intravisto_core.request.flow import AttributionView, GraphView, HeadSharesView
from intravisto_core.sites import Refinement
from intravisto_ui.flow import attribution, lists, panel
from intravisto_ui.flow import options as flow_options
from intravisto_ui.parts import components, export_menu, place_actions, problems, stage, view_options
from intravisto_ui.parts.kept import kept
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escaped, hints, token
from intravisto_ui.session.workspace import Workspace

LISTED = 8
LEAST = 1e-3  # of a source that is listed


def options(here: Workspace) -> tuple[GraphView, float]:
    """The line of options: what is asked for, and the scale of the picture."""
    shown = here.shown
    assert shown is not None
    n_layers = shown.engine.model.n_layers
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
    row, position, note = flow_options.start(here, flow_options.start_box(line, shown))
    threshold = kept(
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
    low, high = view_options.rows_slider(line, n_layers)
    scale = kept(
        line.slider,
        "Scale",
        key="flow_scale",
        default=1.0,
        min_value=0.5,
        max_value=3.0,
        step=0.1,
        width=130,
        help="Size of the whole picture.",
    )
    if note:
        st.html(f'<div class="hint">{escaped(note)}</div>')
    top = min(high, n_layers if row is None else min(row, n_layers))
    rows = None if (low, top) == (0, n_layers) else Span(min(low, top), top + 1)
    return GraphView(shown.trace.id, row, position, threshold / 100, rows), scale


def draw(here: Workspace, line: Any) -> None:
    """The whole tab."""
    asked, scale = options(here)
    call = f"graph = trace.graph({export_menu.arguments(asked)})"
    picture, detail = stage.stage()
    export_menu.menu(line, here, asked, "graph", lambda: {"scale": scale}, [call, 'graph.save("graph.html")'])
    with picture, problems.guarded():
        graph = record(here, asked)
        payload = here.payload((asked, scale), lambda: graph_payload(graph, scale, rev=graph.trace))
        components.graph(payload, key="flow_graph", on_select=here.select)
        st.html(hints(graph_caption(graph)))
    with detail, problems.guarded():
        _panel(here, record(here, asked))


def record(here: Workspace, asked: GraphView) -> ContributionGraph:
    """The graph, asked for once."""
    shown = here.shown
    assert shown is not None
    return here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "flow-graph"))


def _panel(here: Workspace, graph: ContributionGraph) -> None:
    place = here.place
    if place.row is None or place.position is None:
        st.html(panel.EMPTY)
        return
    row, position = min(place.row, graph.n_layers), place.position
    source, kind = _step(place.part)
    name = row_label(row, graph.n_layers)
    read = token(lists.shown_at(graph.tokens, position))
    st.html(
        f'<div class="title"><b>{escaped(name)} · position {position}</b></div>'
        f'<div class="under">reads {read}{" · " + escaped(kind) + " step" if kind else " · state"}</div>'
    )
    if row == 0:
        st.html('<div class="hint">The embeddings: nothing was added yet.</div>')
        return
    panel.actions(here, row, position)
    found = panel.head_shares(here, HeadSharesView(graph.trace, row, position, joint=True))
    if kind == "attention":
        tables = [panel.heads_table(found, source, LISTED), _other_sources(found, graph, row)]
    else:
        tables = [_made_of(found, graph, row, position)]
    components.links(packed(graph.trace, tables), key="flow_graph_parts", on_select=here.select)
    if kind == "attention":
        place_actions.head(here, row - 1, position, panel.strongest(found, source), "flow_graph_head")
    else:
        with stage.second_half():
            _attribution(here, graph, row, position)


def _step(part: str) -> tuple[int, str]:
    """Source position and kind of a step's id; −1 and "" for a state."""
    pieces = part.split(">")
    if len(pieces) != 3:
        return -1, ""
    return lists.place_of(pieces[0])[2], pieces[2]


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
            lists.shown_at(graph.tokens, j),
            float(sources[j]),
            share(float(sources[j])),
            row=row - 1,
            position=j,
            part=f"block.{row - 1}.{j}>block.{found.row}.{found.position}>attention",
        )
        for j in order
    ]


def _made_of(found: HeadShares, graph: ContributionGraph, row: int, position: int) -> Lines:
    """All parts of a state in the joint form."""
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
    if at.size and np.isfinite(graph.node_mlp[at[0]]) and not np.isfinite(found.mlp):
        mlp = float(graph.node_mlp[at[0]])
        lines.append(
            Line("mlp", "MLP, where it joins", "", mlp, share(mlp), help="of the sum with the state after attention")
        )
    return Lines("Made of", lines, ("share",))


def _attribution(here: Workspace, graph: ContributionGraph, row: int, position: int) -> None:
    """What this layer adds, at this position, to the token asked about."""
    shown = here.shown
    assert shown is not None
    target, contrast = attribution.chosen_tokens(here)
    layer = row - 1
    asked = AttributionView(graph.trace, target, contrast, position, Refinement.HEADS, layer)
    found = here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "flow-node-attribution"))
    own = [i for i in range(len(found.value)) if found.layer[i] == layer]
    own.sort(key=lambda i: -abs(found.value[i]))
    size = max((abs(float(found.value[i])) for i in own), default=0.0) or 1.0
    lines = [part_line(found, i, size) for i in own[:LISTED]]
    against = f" over {found.contrast}" if found.contrast_id >= 0 else ""
    title = f"What this layer adds to {found.target}{against} (logit)"
    data = packed(graph.trace, [Lines(title, lines, ("change",))]) | {"signed": True}
    components.links(data, key="flow_graph_attribution", on_select=here.select)
