"""The heatmap itself: record, payload, component."""

from __future__ import annotations

from dataclasses import asdict

import streamlit as st

from intravisto_core.figures.web import Mark, comparison_payload, grid_payload
from intravisto_core.records import DecodedGrid, Shares
from intravisto_core.request import CompareView, SharesView
from intravisto_ui.heatmap import find
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import components
from intravisto_ui.session import edit_marks, jobs
from intravisto_ui.session.text import escaped
from intravisto_ui.session.workspace import Workspace

SLOT = "heatmap"


def draw(here: Workspace, chosen: Options) -> None:
    """The grid of the chosen view, and under it what a reader must know."""
    outlines, difference = marks(here), edit_marks.is_difference(here)
    make = _difference if difference else _made
    payload, notes = here.payload((chosen, outlines, difference), lambda: make(here, chosen, outlines))
    components.grid(payload, key="grid", on_select=here.select)
    for note in (*chosen.notes, *notes):
        st.html(f'<div class="hint">{escaped(note)}</div>')


def marks(here: Workspace) -> tuple[Mark, ...]:
    """The cells to outline: where the sought token comes up, and where edits act."""
    return (*find.marks(here), *edit_marks.marks(here))


def comparison(here: Workspace, chosen: Options) -> CompareView:
    """The edited run against its baseline, in the cells of the chosen view."""
    assert here.base is not None
    view = chosen.view
    return CompareView(
        here.base.trace.id,
        view.trace,
        component=view.component,
        lens=view.lens,
        norm=view.norm,
        rows=view.rows,
        positions=view.positions,
    )


def record(here: Workspace, chosen: Options) -> tuple[DecodedGrid, Shares]:
    """The decoded grid, and the shares of attention and MLP for colour and hover."""
    assert here.shown is not None
    engine = here.shown.engine
    grid = jobs.view(engine, chosen.view, here.id, SLOT)
    return grid, jobs.view(engine, SharesView(chosen.view.trace, chosen.measure), here.id, f"{SLOT}-shares")


def _made(here: Workspace, chosen: Options, marks: tuple[Mark, ...]) -> tuple[bytes, tuple[str, ...]]:
    grid, shares = record(here, chosen)
    return grid_payload(grid, chosen.colour, shares, marks=marks, rev=grid.trace, **asdict(chosen.dress)), grid.notes


def _difference(here: Workspace, chosen: Options, marks: tuple[Mark, ...]) -> tuple[bytes, tuple[str, ...]]:
    """What the edits changed in the cells of the chosen view."""
    assert here.base is not None
    compared = jobs.view(here.base.engine, comparison(here, chosen), here.id, f"{SLOT}-difference")
    return comparison_payload(compared, marks=marks, rev=chosen.view.trace), compared.notes
