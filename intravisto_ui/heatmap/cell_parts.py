"""More on the selected cell, one thing at a time: what attention and MLP wrote, shares by every measure, sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from intravisto_core.figures.numbers import share
from intravisto_core.figures.web import next_list, update_lists
from intravisto_core.records import CellShares
from intravisto_core.request import CellSharesView, Generation, NextTokensView, UpdateView
from intravisto_core.sites import Component
from intravisto_ui.heatmap import trajectory
from intravisto_ui.parts import components
from intravisto_ui.parts.kept import kept
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escaped, plural
from intravisto_ui.session.workspace import Workspace

LAYERS = "layers"
PARTS = {LAYERS: LAYERS, "attention": "attention", "mlp": "MLP", "shares": "shares", "sampling": "sampling"}
HELP = (
    "**layers**: how chosen tokens fare from row to row, and what was added at this row.  \n"
    "**attention**, **MLP**: which tokens this part of the layer raised and lowered here, and how their rank in the "
    "stream changed by it.  \n**shares**: how much each part counts where it is added, by all five measures.  \n"
    "**sampling**: what the next token would be drawn from under another temperature, without running the model."
)
LISTED = 15
DRAWN = 12


def switch() -> str:
    """Which part is shown."""
    return kept(
        st.segmented_control,
        "What is shown of the cell",
        key="cell_part",
        default=LAYERS,
        valid=lambda v: v in PARTS,
        options=list(PARTS),
        format_func=PARTS.__getitem__,
        required=True,
        width="stretch",
        help=HELP,
    )


def draw(here: Workspace, part: str, row: int, position: int, pins: Mapping[int, str]) -> None:
    """The part that was chosen; a sentence where the row has none of it."""
    if part == "sampling":
        _sampling(here, position, pins)
    elif not _in_a_block(here, row):
        st.html('<div class="hint">No layer writes at this row. Choose a row between embeddings and final norm.</div>')
    elif part == "shares":
        _shares(here, row, position)
    else:
        _written(here, Component(part), row, position, pins)


def _in_a_block(here: Workspace, row: int) -> bool:
    return here.shown is not None and 1 <= row <= here.shown.engine.model.n_layers


def _view(here: Workspace, asked: Any, slot: str) -> Any:
    assert here.shown is not None
    return here.payload(asked, lambda: jobs.view(here.shown.engine, asked, here.id, slot))


def _lists(here: Workspace, data: dict[str, Any], position: int, pins: Mapping[int, str]) -> None:
    components.panel(data, key="panel_written", on_pin=lambda i: trajectory.toggle(here, position, list(pins), i))


def _written(here: Workspace, component: Component, row: int, position: int, pins: Mapping[int, str]) -> None:
    assert here.shown is not None
    update = _view(here, UpdateView(here.shown.trace.id, component, row, position, LISTED), "written")
    _lists(here, update_lists(update, pins), position, pins)
    st.html(
        '<div class="hint">Changes at the scale of the stream it is added to. The rank is the place among all tokens '
        "just before and just after.</div>"
    )


def _shares(here: Workspace, row: int, position: int) -> None:
    assert here.shown is not None
    found: CellShares = _view(here, CellSharesView(here.shown.trace.id, row, position), "all-shares")
    st.html(shares_table(found))


def shares_table(found: CellShares) -> str:
    """All measures as an HTML table: attention and MLP, each of what it is added to; the rest is the stream's."""
    lines = []
    for i, measure in enumerate(found.measures):
        missing = found.missing.get(measure, "")
        why = f' title="{escaped(missing or measure.help)}"'
        parts = ((found.attention, found.residual_attention), (found.mlp, found.residual_mlp))
        cells = "".join(
            f'<td class="num" title="the stream before it: {share(float(rest[i]))}">{share(float(part[i]))}</td>'
            for part, rest in parts
        )
        lines.append(f'<tr{why}><th scope="row">{escaped(measure.label)}</th>{cells}</tr>')
    parallel = found.block == "parallel"
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


def _sampling(here: Workspace, position: int, pins: Mapping[int, str]) -> None:
    assert here.shown is not None
    model = here.shown.engine.model
    knobs = st.container(horizontal=True, gap="small", key="knobs")
    temperature = kept(
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
    top_k = kept(
        pair[0].number_input,
        "Top-k",
        key="try_top_k",
        default=0,
        min_value=0,
        max_value=model.d_vocab,
        step=1,
        help="Only the k most probable tokens can be drawn; 0 is no limit.",
    )
    top_p = kept(
        pair[1].slider,
        "Top-p",
        key="try_top_p",
        default=1.0,
        min_value=0.05,
        max_value=1.0,
        step=0.05,
        help="Only the most probable tokens that together reach this probability can be drawn; 1 is no limit.",
    )
    sampling = Generation(temperature=temperature, top_k=top_k or None, top_p=top_p if top_p < 1 else None)
    found = _view(here, NextTokensView(here.shown.trace.id, position, sampling, DRAWN), "sampling")
    _lists(here, next_list(found, pins), position, pins)
    listed = float(found.sampled.sum())
    together = "" if listed > 0.9995 else f"; those listed have {100 * listed:.1f}&nbsp;% together"
    st.html(
        f'<div class="hint">After position {position}. {plural(found.n_left, "token")} can be drawn{together}. '
        "From the stored scores: the model is not run.</div>"
    )
