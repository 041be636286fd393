"""Why a generated token and not its runner-up: their odds, and which updates raised one over the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from intravisto_core.figures.numbers import change, probability
from intravisto_core.records import DecodedGrid, NextTokens, row_label
from intravisto_core.request import HeatmapView, NextTokensView
from intravisto_core.sites import Component, NormPolicy
from intravisto_ui import jobs, trajectory
from intravisto_ui.text import escaped, token
from intravisto_ui.workspace import Workspace

LISTED = 5
CANDIDATES = 2


@dataclass(frozen=True, slots=True)
class Step:
    """What an update did to the target's lead over the contrast, as a change of logit. row: 1 to L."""

    row: int
    component: Component
    change: float


def draw(here: Workspace) -> None:
    """The answer for the selected target; nothing where none is asked about."""
    shown, target = here.shown, here.place.target
    if shown is None or target is None or not 0 < target < len(shown.trace.tokens):
        return
    wanted = shown.trace.tokens[target]
    asked = NextTokensView(shown.trace.id, target - 1, n=CANDIDATES)
    odds: NextTokens = here.payload(asked, lambda: jobs.view(shown.engine, asked, here.id, "why-odds"))
    here.names.update(odds.shown)
    rival = next(int(i) for i in odds.token_ids if int(i) != wanted.id)
    own = dict(zip(odds.token_ids.tolist(), odds.model.tolist(), strict=True))
    chance = f" {_unbroken(own[wanted.id])}" if wanted.id in own else ""
    st.html(
        f'<div class="why"><b>Why {token(wanted.shown)}?</b> {token(wanted.shown)}{chance}, '
        f"{'the runner-up' if wanted.id == int(odds.token_ids[0]) else 'the top token'} "
        f"{token(odds.shown[rival])} {_unbroken(own[rival])}.</div>"
    )
    texts = [trajectory.typed(here, i) for i in (wanted.id, rival)]
    if texts[0] is None or texts[1] is None:
        return
    steps = _steps(here, target - 1, (texts[0], texts[1]))
    strongest = sorted(steps, key=lambda s: -s.change)[:LISTED]
    st.html(_table(strongest, shown.engine.model.n_layers, wanted.shown, odds.shown[rival]))


def _unbroken(p: float) -> str:
    return probability(p).replace(" ", "\u00a0")


def _steps(here: Workspace, position: int, texts: tuple[str, str]) -> list[Step]:
    """What every update at a position did to the lead of the first text's token over the second's."""
    assert here.shown is not None
    engine, trace = here.shown.engine, here.shown.trace.id
    found = []
    for component in (Component.ATTENTION, Component.MLP):
        asked = HeatmapView(trace, component, norm=NormPolicy.STREAM, positions=(position,), top_k=1, watch=texts)
        grid: DecodedGrid = here.payload(asked, lambda a=asked: jobs.view(engine, a, here.id, f"why-{a.component}"))
        lead = grid.watch[0].logit[:, 0] - grid.watch[1].logit[:, 0]
        found += [Step(int(r), component, float(v)) for r, v in zip(grid.rows, lead, strict=True) if np.isfinite(v)]
    return found


def _table(steps: list[Step], n_layers: int, target: str, contrast: str) -> str:
    most = max((abs(s.change) for s in steps), default=0.0) or 1.0
    lines = "".join(
        f'<tr><td>{escaped(row_label(s.row, n_layers))} {escaped(s.component.label)}</td><td class="bar">'
        f'<i class="{s.component}" style="width:{100 * max(0.0, s.change) / most:.0f}%"></i></td>'
        f'<td class="num">{change(s.change)}</td></tr>'
        for s in steps
    )
    return (
        f'<div class="cap">What raised {token(target)} over {token(contrast)} most, directly</div>'
        f'<table class="why">{lines}</table><div class="hint">Change of the difference of their scores (logits) at the '
        "scale of the stream there. What an update prepares for later layers is not counted.</div>"
    )
