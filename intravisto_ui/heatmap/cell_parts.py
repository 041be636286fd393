"""More on the selected cell, one thing at a time: what attention and MLP wrote, shares by every measure, sampling."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import streamlit as st

from intravisto_core.figures.numbers import probability, share
from intravisto_core.figures.web import next_list, update_lists
from intravisto_core.records import CellShares
from intravisto_core.request import CellSharesView, Generation, NextTokensView, UpdateView
from intravisto_core.sites import BlockKind, Component, TokenOrder
from intravisto_ui.heatmap import trajectory
from intravisto_ui.parts import components
from intravisto_ui.parts.choices import draw_segments
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace


class CellPart(StrEnum):
    """What can be shown of a cell, one at a time."""

    LAYERS = "layers"
    ATTENTION = "attention"
    MLP = "mlp"
    SHARES = "shares"
    SAMPLING = "sampling"


NAMES = {part: "MLP" if part == CellPart.MLP else str(part) for part in CellPart}
COMPONENTS = {CellPart.ATTENTION: Component.ATTENTION, CellPart.MLP: Component.MLP}
HELP = (
    "**layers**: how chosen tokens fare from row to row, and what was added at this row.  \n"
    "**attention**, **MLP**: which tokens this part of the layer raised and lowered here, and how their rank in the "
    "stream changed by it.  \n**shares**: how much each part counts where it is added, by all five measures.  \n"
    "**sampling**: what the next token would be drawn from under another temperature, without running the model."
)
BY_ANGLE = "Listed by the angle between what was written and each token’s direction."
BY_LOGIT = "Listed by the change of logit, which favours tokens with long rows in the table."
LISTED = 15
DRAWN = 12
ALL_OF_IT = 0.9995


def draw_switch() -> CellPart:
    """Which part is shown."""
    return draw_segments("What is shown of the cell", "cell_part", NAMES, CellPart.LAYERS, width="stretch", help=HELP)


def draw(
    workspace: Workspace,
    shown: Shown,
    part: CellPart,
    row: int,
    position: int,
    pins: Mapping[int, str],
    order: TokenOrder,
) -> None:
    """The part that was chosen; a sentence where the row has none of it. order: of the tokens that a part wrote."""
    if part == CellPart.SAMPLING:
        _draw_sampling(workspace, shown, position, pins)
    elif not 1 <= row <= shown.engine.model.n_layers:
        st.html('<div class="hint">No layer writes at this row. Choose a row between embeddings and final norm.</div>')
    elif part == CellPart.SHARES:
        view = CellSharesView(shown.trace.id, row, position)
        st.html(shares_table(workspace.read_view(shown.engine, view, "all-shares")))
    elif part in COMPONENTS:
        asked = UpdateView(shown.trace.id, COMPONENTS[part], row, position, LISTED, order)
        _draw_update(workspace, shown, asked, pins)


def _draw_lists(workspace: Workspace, data: dict[str, Any], position: int, pins: Mapping[int, str]) -> None:
    components.draw_panel(
        data, key="panel_written", on_pin=lambda i: trajectory.toggle_pin(workspace, position, list(pins), i)
    )


def _draw_update(workspace: Workspace, shown: Shown, view: UpdateView, pins: Mapping[int, str]) -> None:
    found = workspace.read_view(shown.engine, view, "written")
    _draw_lists(workspace, update_lists(found, pins), view.position, pins)
    how = BY_ANGLE if view.order is TokenOrder.ANGLE else BY_LOGIT
    st.html(
        f'<div class="hint">{how} Changes at the scale of the stream it is added to. The rank is the place among all '
        "tokens just before and just after.</div>"
    )


def shares_table(found: CellShares) -> str:
    """All measures as an HTML table: attention and MLP, each of what it is added to; the rest is the stream's."""
    lines = []
    for i, measure in enumerate(found.measures):
        missing = found.missing.get(measure, "")
        why = f' title="{escape_html(missing or measure.help)}"'
        parts = ((found.attention, found.residual_attention), (found.mlp, found.residual_mlp))
        cells = "".join(
            f'<td class="num" title="the stream before it: {share(float(rest[i]))}">{share(float(part[i]))}</td>'
            for part, rest in parts
        )
        lines.append(f'<tr{why}><th scope="row">{escape_html(measure.label)}</th>{cells}</tr>')
    parallel = found.block == BlockKind.PARALLEL
    wholes = ("of block output",) * 2 if parallel else ("of the stream after it", "of block output")
    heads = "".join(
        f'<th class="num" scope="col">{name}<small>{whole}</small></th>'
        for name, whole in zip(("attention", "MLP"), wholes, strict=True)
    )
    rest = "The rest is the stream's." if not parallel else "The rest of 100 % is the stream's."
    return (
        f'<table class="facts shares"><tr><th>measure</th>{heads}</tr>{"".join(lines)}</table>'
        f'<div class="hint">{rest} Rest a pointer on a measure to read what it compares. They need not agree: sizes '
        "are no causes.</div>"
    )


def _draw_sampling(workspace: Workspace, shown: Shown, position: int, pins: Mapping[int, str]) -> None:
    sampling = _draw_sampling_options(shown.engine.model.d_vocab)
    view = NextTokensView(shown.trace.id, position, sampling, DRAWN)
    found = workspace.read_view(shown.engine, view, "sampling")
    _draw_lists(workspace, next_list(found, pins), position, pins)
    together = float(found.sampled.sum())
    have = "" if together > ALL_OF_IT else f"; those listed have {probability(together)} together"
    st.html(
        f'<div class="hint">After position {position}. {plural(found.n_left, "token")} can be drawn{have}. '
        "From the stored scores: the model is not run.</div>"
    )


def _draw_sampling_options(d_vocab: int) -> Generation:
    knobs = st.container(horizontal=True, gap="small", key="knobs")
    temperature = draw_kept(
        knobs.slider,
        "Temperature",
        key="try_temperature",
        default=1.0,
        min_value=0.05,
        max_value=3.0,
        step=0.05,
        help="Below 1 keeps to the probable tokens, above 1 evens them out. At 1 nothing changes.",
    )
    pair = st.columns(2)
    top_k = draw_kept(
        pair[0].number_input,
        "Top-k",
        key="try_top_k",
        default=0,
        min_value=0,
        max_value=d_vocab,
        step=1,
        help="Only the k most probable tokens can be drawn; 0 is no limit.",
    )
    top_p = draw_kept(
        pair[1].slider,
        "Top-p",
        key="try_top_p",
        default=1.0,
        min_value=0.05,
        max_value=1.0,
        step=0.05,
        help="Only the most probable tokens that together reach this probability can be drawn; 1 is no limit.",
    )
    return Generation(temperature=temperature, top_k=top_k or None, top_p=top_p if top_p < 1 else None)
