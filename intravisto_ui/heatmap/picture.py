"""The heatmap itself: record, payload, component."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import streamlit as st

from intravisto_core.figures.web import Mark, comparison_payload, grid_payload
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import DecodedGrid
from intravisto_core.request import CompareView, HeatmapView, SharesView, Span
from intravisto_core.request.ranges import indices
from intravisto_ui.heatmap import find
from intravisto_ui.heatmap.options import Options
from intravisto_ui.parts import components
from intravisto_ui.session import edit_marks, jobs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html
from intravisto_ui.session.workspace import Workspace

SLOT = "heatmap"
FIRST_S, MORE_S = 0.3, 0.6
SENT_OFTEN = 200  # columns


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the picture is given. known: the positions that are decoded, None where all are."""

    payload: bytes
    notes: tuple[str, ...]
    known: tuple[int, ...] | None = None


def draw(workspace: Workspace, shown: Shown, chosen: Options) -> tuple[int, ...] | None:
    """The grid of the chosen view, and under it what a reader must know; returns `Drawn.known`.

    Of a large grid the columns in sight are drawn first. As soon as the browser has drawn them it asks for more, until
    all are there.
    """
    outlines, base = edit_marks.find_marks(workspace), workspace.base
    compared = base if edit_marks.is_difference(workspace) else None
    key = (chosen, outlines, find.describe_sought(workspace), compared is not None)
    more, workspace.wants_more = workspace.wants_more, False

    def make() -> Drawn:
        if compared is None:
            # the larger the picture that is sent, the more comes with it
            seconds = MORE_S * max(1.0, len(workspace.known or ()) / SENT_OFTEN) if more else FIRST_S
            return _draw_grid(workspace, shown, chosen, outlines, seconds, says=not more)
        return _draw_difference(workspace, shown, compared, chosen, outlines)

    drawn = workspace.keep(key, make, lambda kept: more and kept.known is not None)
    components.draw_grid(drawn.payload, key="grid", on_select=workspace.select, on_more=workspace.look_at)
    for note in (*chosen.notes, *drawn.notes):
        st.html(f'<div class="hint">{escape_html(as_sentence(note))}</div>')
    return drawn.known


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
    workspace: Workspace, shown: Shown, chosen: Options, edited: tuple[Mark, ...], seconds: float, says: bool
) -> Drawn:
    """The payload of the grid with its notes; shares of attention and MLP are for colour and hover."""
    grid = _decode(workspace, shown, chosen.view, seconds, says)
    shares = jobs.compute_view(shown.engine, SharesView(grid.trace, chosen.measure), workspace.id, f"{SLOT}-shares")
    tokens = shown.trace.tokens
    columns = [tokens[p] for p in indices(chosen.view.positions, len(tokens), "positions")]
    known = tuple(int(p) for p in grid.positions)
    whole = len(known) == len(columns)
    marks = (*find.find_marks(workspace, shown, None if whole else known), *edited)
    style = asdict(chosen.style)
    payload = grid_payload(grid, chosen.colour, shares, marks=marks, rev=grid.trace, columns=columns, **style)
    return Drawn(payload, grid.notes, None if whole else known)


def _decode(workspace: Workspace, shown: Shown, view: HeatmapView, seconds: float, says: bool) -> DecodedGrid:
    """The columns that are decoded in that time, those in sight first: around the selected one as long as nothing is
    known of what is looked at. says: how far it is, over the picture; one that grows has that in its own foot.
    """
    last = len(shown.trace.tokens) - 1
    at = workspace.selection.position
    at = last if at is None else min(at, last)
    low, high = workspace.sight or (at, at)
    first = Span(min(low, last), min(high, last) + 1)
    return jobs.compute_view(shown.engine, replace(view, first=first, within=seconds), workspace.id, SLOT, says)


def _draw_difference(
    workspace: Workspace, shown: Shown, base: Shown, chosen: Options, edited: tuple[Mark, ...]
) -> Drawn:
    """What the edits changed in the cells of the chosen view."""
    compared = jobs.compute_view(base.engine, comparison_view(base, chosen), workspace.id, f"{SLOT}-difference")
    marks = (*find.find_marks(workspace, shown), *edited)
    return Drawn(comparison_payload(compared, marks=marks, rev=chosen.view.trace), compared.notes)
