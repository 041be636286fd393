"""The finder of neurons: the largest of a layer or of all, or those that promote a token; a click opens one."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from intravisto_core.records import LayerGraph, Neurons
from intravisto_core.request import NeuronsView
from intravisto_core.sites import NeuronRanking
from intravisto_ui.parts import layer_start, problems, token_field
from intravisto_ui.parts.choices import draw_choice, draw_segments
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.question import Question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

KEY = "layer_finder"
LISTED = 30


def draw(workspace: Workspace, shown: Shown, graph: LayerGraph, question: Question) -> None:
    """A box that is closed at first; nothing is computed until it is opened."""
    if not draw_kept(
        st.toggle, "Find neurons", key=f"{KEY}_open", default=False, help="The largest neurons, of this layer or of all"
    ):
        return
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="finder_options")
    with line.container(width="content", key="finder_where"):
        where = draw_segments("Layers", f"{KEY}_where", {"this": "this layer", "all": "all layers"}, "this")
    rank_by = draw_choice(line, "Largest by", f"{KEY}_by", tuple(NeuronRanking), 230)
    token = token_field.draw(
        line.container(width=260, key=f"{KEY}_promotes"),
        shown.engine,
        "That promote",
        key=f"{KEY}_token",
        placeholder="a token",
        help="Neurons whose output points along this token's direction, whatever they do in this text. Where a cosine "
        "is negative, a neuron promotes it while its activation is negative.",
    )
    view = NeuronsView(
        shown.trace.id,
        graph.layer if where == "this" else None,
        graph.position,
        rank_by,
        LISTED,
        question.target.typed,
        question.rival.typed,
        promotes=token or None,
    )
    with problems.guard():
        found = _read(workspace, shown, view)
        _draw_table(workspace, shown, graph, found)


def _read(workspace: Workspace, shown: Shown, view: NeuronsView) -> Neurons:
    return workspace.read_view(shown.engine, view, KEY)


def _draw_table(workspace: Workspace, shown: Shown, graph: LayerGraph, found: Neurons) -> None:
    table = found.frame()
    shown_columns = [
        c for c in table.columns if not (table[c].isna().all() or (c == "expert" and (table[c] < 0).all()))
    ]
    chosen: Any = st.dataframe(
        table[shown_columns],
        key=f"{KEY}_table",
        hide_index=True,
        height=260,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            name: st.column_config.NumberColumn(format="%.3g")
            for name in ("activation", "size", "pull", "versus", "attribution", "cosine")
        },
    )
    for note in found.notes:
        st.caption(note)
    rows = list(chosen.selection.rows) if chosen else []
    if rows:
        _open(workspace, shown, graph, table.iloc[rows[0]])


def _open(workspace: Workspace, shown: Shown, graph: LayerGraph, row: pd.Series) -> None:
    """Show the card of a neuron of the list; once for each click."""
    wanted = (shown.trace.id, graph.position, int(row["layer"]), int(row["expert"]), int(row["neuron"]))
    if workspace.options.get(f"{KEY}_opened") == wanted:
        return
    workspace.options[f"{KEY}_opened"] = wanted
    layer_start.set_layer(workspace, shown, wanted[2])
    layer_start.set_part(workspace, (graph.trace, wanted[2], graph.position), "neuron", wanted[4], wanted[3])
    st.rerun()
