"""Why a generated token and not another: their odds, and which updates raised one over the other."""

from __future__ import annotations

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import probability
from intravisto_core.figures.web import Step, step_list
from intravisto_core.records import NextTokens
from intravisto_core.request import HeatmapView, NextTokensView
from intravisto_core.sites import Component, NormPolicy
from intravisto_ui.heatmap.cell_parts import CellPart
from intravisto_ui.parts import components
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.question import find_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import token_html
from intravisto_ui.session.workspace import Workspace

LISTED = 5
CANDIDATES = 2


def draw(workspace: Workspace, shown: Shown) -> None:
    """The answer for the selected target; nothing where none is asked about."""
    target = workspace.selection.target
    if target is None or not 0 < target < len(shown.trace.tokens):
        return
    asked = find_question(workspace, shown, target - 1)
    wanted, rival = asked.target, asked.rival
    odds = workspace.read_view(shown.engine, NextTokensView(shown.trace.id, target - 1, n=CANDIDATES), "why-odds")
    first, second = (int(i) for i in odds.token_ids)
    place = {first: "the top token ", second: "the runner-up "}.get(rival.id, "")
    chance, other = (_read_probability(workspace, shown, odds, choice.id) for choice in (wanted, rival))
    st.html(
        f'<div class="why"><b>Why {token_html(wanted.shown)}?</b> {token_html(wanted.shown)} {chance}, '
        f"{place}{token_html(rival.shown)} {other}.</div>"
    )
    steps = _find_steps(workspace, shown, target - 1, (wanted.id, rival.id))
    strongest = sorted(steps, key=lambda s: -s.change)[:LISTED]
    title = f"What raised {wanted.shown} over {rival.shown} most, directly"
    data = step_list(strongest, title, shown.engine.model.n_layers)
    components.draw_panel(data, key="why_steps", on_go=lambda row: _open_step(workspace, strongest, row))
    st.html(
        '<div class="hint">Change of the difference of their scores (logits) at the scale of the stream there. What an '
        "update prepares for later layers is not counted. Click a line to open that cell.</div>"
    )


def _open_step(workspace: Workspace, steps: list[Step], index: int) -> None:
    """Go to the cell where an update was made, and show what it wrote there."""
    step = steps[index]
    workspace.select_cell(step.row, target=workspace.selection.target)
    set_kept(cell_part=CellPart(step.component))


def _read_probability(workspace: Workspace, shown: Shown, odds: NextTokens, id: int) -> str:
    """How probable the model finds a token there, with a space that does not break."""
    listed = dict(zip(odds.token_ids.tolist(), odds.model.tolist(), strict=True))
    if id not in listed:
        top = (shown.engine.model.n_layers + 1,)
        view = HeatmapView(shown.trace.id, rows=top, positions=(odds.position,), top_k=1, watch=(id,))
        listed[id] = float(workspace.read_view(shown.engine, view, "why-token").watch[0].probability[0, 0])
    return probability(listed[id]).replace(" ", "\u00a0")


def _find_steps(workspace: Workspace, shown: Shown, position: int, pair: tuple[int, int]) -> list[Step]:
    """What every update at a position did to the lead of the pair's first token over the second."""
    found = []
    for component in (Component.ATTENTION, Component.MLP):
        view = HeatmapView(
            shown.trace.id, component, norm=NormPolicy.STREAM, positions=(position,), top_k=1, watch=pair
        )
        grid = workspace.read_view(shown.engine, view, f"why-{component}")
        lead = grid.watch[0].logit[:, 0] - grid.watch[1].logit[:, 0]
        found += [Step(int(r), component, float(v)) for r, v in zip(grid.rows, lead, strict=True) if np.isfinite(v)]
    return found
