"""Which next tokens the edits moved: by change of probability, not by raw differences of scores.

A difference of logits puts rare tokens with long rows first, whatever changed.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from intravisto_core.engine import Trace
from intravisto_core.figures.numbers import probability, significant
from intravisto_core.request import HeatmapView
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import token_html
from intravisto_ui.session.workspace import Workspace

CANDIDATES, LISTED = 12, 6
HELP = (
    "Of the likeliest next tokens of both runs, those whose probability changed most. Scores of rare tokens can change "
    "much more without any effect on what is said."
)


def draw(workspace: Workspace, base: Shown, held: Trace, position: int) -> None:
    """A table of tokens with both probabilities, the largest change first."""
    found = find_moved(workspace, base, held, position)
    if not found:
        return
    rows = "".join(
        f"<tr><td>{token_html(shown)}</td><td>{probability(before)}</td><td>{probability(after)}</td>"
        f"<td>{_describe_change(after - before)}</td></tr>"
        for shown, before, after in found
    )
    head = f'<th title="{HELP}">next tokens that moved most</th><th>baseline</th><th>edited</th><th>change</th>'
    st.html(f'<table class="effects moved_tokens"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>')


def find_moved(workspace: Workspace, base: Shown, held: Trace, position: int) -> list[tuple[str, float, float]]:
    """Tokens as they are shown, with their probability after a position in the baseline and in the edited run."""
    top, traces = (base.engine.model.n_layers + 1,), (base.trace.id, held.id)
    asked = [HeatmapView(t, rows=top, positions=(position,), top_k=CANDIDATES) for t in traces]
    grids = [workspace.read_view(base.engine, view, "moved") for view in asked]
    ids = tuple(dict.fromkeys(int(i) for grid in grids for i in grid.token_ids[0, 0]))
    read = [workspace.read_view(base.engine, replace(view, top_k=1, watch=ids), "moved") for view in asked]
    found = [
        (before.shown, float(before.probability[0, 0]), float(after.probability[0, 0]))
        for before, after in zip(read[0].watch, read[1].watch, strict=True)
    ]
    moved = sorted(found, key=lambda each: -abs(each[2] - each[1]))[:LISTED]
    # below a thousandth of a per cent nothing is written that could be read
    return [each for each in moved if abs(each[2] - each[1]) >= 1e-5]


def _describe_change(change: float) -> str:
    return ("+" if change > 0 else "") + significant(100 * change) + " points"
