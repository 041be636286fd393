"""The heatmap itself: record, payload, component."""

from __future__ import annotations

from dataclasses import asdict

import streamlit as st

from intravisto_core.figures.web import Mark, comparison_payload, grid_payload
from intravisto_core.request import CompareView, SharesView
from intravisto_ui.heatmap import find
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import components
from intravisto_ui.session import edit_marks, jobs
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Shown, Workspace

SLOT = "heatmap"


def draw(workspace: Workspace, shown: Shown, chosen: Options) -> None:
    """The grid of the chosen view, and under it what a reader must know."""
    outlines, base = find_marks(workspace, shown), workspace.base
    compared = base if edit_marks.is_difference(workspace) else None

    def make() -> tuple[bytes, tuple[str, ...]]:
        if compared is None:
            return _draw_grid(workspace, shown, chosen, outlines)
        return _draw_difference(workspace, compared, chosen, outlines)

    payload, notes = workspace.keep((chosen, outlines, compared is not None), make)
    components.draw_grid(payload, key="grid", on_select=workspace.select)
    for note in (*chosen.notes, *notes):
        st.html(f'<div class="hint">{escape_html(note)}</div>')


def find_marks(workspace: Workspace, shown: Shown) -> tuple[Mark, ...]:
    """The cells to outline: where the sought token comes up, and where edits act."""
    return (*find.find_marks(workspace, shown), *edit_marks.find_marks(workspace))


def comparison_view(base: Shown, chosen: Options) -> CompareView:
    """The edited run against its baseline, in the cells of the chosen view."""
    view = chosen.view
    return CompareView(
        base.trace.id,
        view.trace,
        component=view.component,
        lens=view.lens,
        norm=view.norm,
        rows=view.rows,
        positions=view.positions,
    )


def _draw_grid(
    workspace: Workspace, shown: Shown, chosen: Options, marks: tuple[Mark, ...]
) -> tuple[bytes, tuple[str, ...]]:
    """The payload of the grid with its notes; shares of attention and MLP are for colour and hover."""
    grid = jobs.compute_view(shown.engine, chosen.view, workspace.id, SLOT)
    shares = jobs.compute_view(shown.engine, SharesView(grid.trace, chosen.measure), workspace.id, f"{SLOT}-shares")
    return grid_payload(grid, chosen.colour, shares, marks=marks, rev=grid.trace, **asdict(chosen.style)), grid.notes


def _draw_difference(
    workspace: Workspace, base: Shown, chosen: Options, marks: tuple[Mark, ...]
) -> tuple[bytes, tuple[str, ...]]:
    """What the edits changed in the cells of the chosen view."""
    compared = jobs.compute_view(base.engine, comparison_view(base, chosen), workspace.id, f"{SLOT}-difference")
    return comparison_payload(compared, marks=marks, rev=chosen.view.trace), compared.notes
