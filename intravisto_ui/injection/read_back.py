"""What an edit's new vector reads back as: before the run in the form, after it on the card."""

from __future__ import annotations

import numpy as np
import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.figures.numbers import probability
from intravisto_core.records import ReadBack
from intravisto_core.request import HeatmapView, Intervention, ReadBackView, Replace, ReplaceMain
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Component, Lens, NormPolicy, Site
from intravisto_ui.injection import card_words, fit
from intravisto_ui.session.edit_tree import EditRun
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Workspace

HELP = (
    "The place's own lens reads the vector that the edit would put in; nothing is run for it. It does not tell what "
    "the model then says: the layers above may turn to something else."
)
LISTED = 3


def draw_forecast(workspace: Workspace, base: Shown, what: Intervention) -> None:
    """What the new vector will read back as, for an edit that puts a token in and fits the text."""
    if not isinstance(what, Replace | ReplaceMain) or fit.describe_misfit(what, base):
        return
    try:
        found = workspace.read_view(base.engine, ReadBackView(base.trace.id, what, top_k=1), "edit-read-back")
    except IntravistoError:  # what is refused is said when the edit is added
        return
    right = found.asked < 0 or bool(found.reads_back.all())
    shade = "" if right else " misfit"
    notes = "".join(f"<div>{escape_html(note)}</div>" for note in found.notes if " vector " in note)
    st.html(f'<div class="hint read_back{shade}" title="{escape_html(HELP)}">{_describe(base, found)}{notes}</div>')


def describe_result(workspace: Workspace, base: Shown, node: EditRun, what: Intervention) -> str:
    """What stands there in the edited run, as HTML; "" for edits that put no token in, or where there is no run yet."""
    if not isinstance(what, Replace | ReplaceMain) or node.held is None or what.site.is_update:
        return ""
    row = what.layer % base.engine.model.n_layers + (what.site is not Site.RESID_PRE)
    lens, norm = _reading(what)
    component = Component.MID if what.site is Site.RESID_MID else Component.BLOCK
    try:
        length = len(node.held.tokens)
        places = [p for p in resolve(what.positions, node.held.prompt_length, length) if p < length]
        view = HeatmapView(node.held.id, component, lens, norm, rows=(row,), positions=tuple(places), top_k=1)
        grid = workspace.read_view(base.engine, view, "edit-read-back")
    except IntravistoError:
        return ""
    tops = [(grid.shown[int(i)], float(p)) for i, p in zip(grid.token_ids[0, :, 0], grid.p_max[0], strict=True)]
    if len(tops) == 1:
        return f"reads back as {_token(*tops[0])}{_by(lens)}"
    most = max({name for name, _ in tops}, key=lambda name: sum(name == n for n, _ in tops))
    count = sum(name == most for name, _ in tops)
    return f"reads back as {token_html(most)} at {count} of {len(tops)} places{_by(lens)}"


def _reading(what: Replace | ReplaceMain) -> tuple[Lens, NormPolicy | None]:
    if isinstance(what, ReplaceMain):
        return what.lens, None
    return what.vector.table or what.read_lens, what.read_norm


def _describe(base: Shown, found: ReadBack) -> str:
    """In words, as HTML."""
    if found.site.is_update:
        return _describe_update(found)
    asked = found.shown.get(found.asked, "")
    tops = [(found.shown[int(i)], float(p)) for i, p in zip(found.ids[:, 0], found.probabilities[:, 0], strict=True)]
    if len(tops) == 1:
        first = f"Will read back as {_token(*tops[0])}{_by(found.lens)}"
        if found.asked >= 0 and not found.reads_back[0]:
            rank, p = int(found.asked_rank[0]), float(found.asked_probability[0])
            return f"{first}, not as {token_html(asked)}: rank {rank:,}, {probability(p)}."
        was = found.shown[int(found.ids_before[0])]
        return f"{first}; there now: {_token(was, float(found.probability_before[0]))}."
    if found.asked < 0 or found.reads_back.all():
        least = float(np.min(found.probabilities[:, 0]))
        return f"Will read back as {_token(tops[0][0], least)} or surer at all {len(tops)} places{_by(found.lens)}."
    wrong = np.flatnonzero(~found.reads_back)
    listed = "; ".join(
        f"at {escape_html(_place(base, int(found.positions[i])))} as {_token(*tops[i])}" for i in wrong[:LISTED]
    )
    more = " …" if len(wrong) > LISTED else ""
    right = len(tops) - len(wrong)
    return f"Will read back as {token_html(asked)} at {right} of {len(tops)} places; {listed}{more}{_by(found.lens)}."


def _describe_update(found: ReadBack) -> str:
    """What a part writes is no state, and has no probabilities."""
    top = found.shown[int(found.ids[0, 0])]
    if found.asked < 0 or found.reads_back.all():
        return f"Will raise the score of {token_html(top)} most."
    asked = token_html(found.shown[found.asked])
    return f"Will raise {token_html(top)} most, and {asked} as number {int(found.asked_rank[0]):,}."


def _token(name: str, p: float) -> str:
    return f"<b>{token_html(name)}</b> ({probability(p)})"


def _by(lens: Lens) -> str:
    return "" if lens is Lens.OUTPUT else f" under the {lens.label} lens"


def _place(base: Shown, position: int) -> str:
    return card_words.describe_position(base.trace.tokens, base.trace.prompt_length, position)
