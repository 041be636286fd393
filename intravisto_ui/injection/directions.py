"""Directions of an edit: a token's own, or one that was made from prompts or loaded from a file."""

from __future__ import annotations

import itertools

import numpy as np
import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.models import directions
from intravisto_core.records import ConceptDirection
from intravisto_core.request import DirectionRequest, TensorRef
from intravisto_ui.parts import problems, token_field
from intravisto_ui.parts.choices import draw_named_choice, draw_segments
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session import jobs
from intravisto_ui.session.edit_stack import Edits
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, escape_markdown
from intravisto_ui.session.workspace import Workspace

FROM = {"token": "a token", "saved": "a saved one"}
STACK = "came with an edit of a loaded stack"


def draw_field(workspace: Workspace, base: Shown, key: str, label: str) -> str | ConceptDirection | None:
    """A direction: a token's text, or one that was saved under a name; None where none is."""
    help = "A token's own direction in the stream, or the difference between two sets of prompts."
    origin = draw_segments(label, f"{key}_from", FROM, "token", help=help)
    if origin == "token":
        help = "The direction that raises this token's score most."
        return token_field.draw(open_container(), base.engine, "Token", key=key, placeholder='" Paris"', help=help)
    line = st.container(horizontal=True, gap="small", key=f"{key}_line")
    with line.popover("New direction", key=f"{key}_new"):
        _draw_new(workspace, base, key)
    with line.popover("File", key=f"{key}_file", help="Save the chosen direction, or load one"):
        file_menu = st.container()
        _draw_load(workspace, base, key)
    saved = workspace.edits.directions
    if not saved:
        file_menu.html('<div class="hint">None is here yet: make one, or load the file of one.</div>')
        return None
    chosen = saved[
        draw_named_choice(open_container(), "Saved", f"{key}_saved", {n: n for n in saved}, "", next(iter(saved)))
    ]
    other = "" if chosen.model in ("", base.engine.model.name) else f"; made on {chosen.model}"
    st.html(f'<div class="hint">{escape_html(chosen.made_of + other)}</div>')
    file_menu.download_button(
        f"Save “{escape_markdown(chosen.name)}”",
        data=directions.written(chosen),
        file_name=chosen.name + directions.SUFFIX,
        mime="application/octet-stream",
        key=f"{key}_download",
        on_click="ignore",
    )
    return chosen


def store_array(edits: Edits, ref: TensorRef) -> str | None:
    """Put the array of an edit among the directions, where it is not yet; returns its name there.

    None where the edit came without its numbers.
    """
    if ref.content is None:
        return None
    try:
        directions.check_name(name := str(ref.name))
    except RequestError:
        name = "direction"
    return store_direction(edits, ConceptDirection(name, ref.content, STACK, ""))


def store_direction(edits: Edits, found: ConceptDirection) -> str:
    """Put a direction among the others, under another name where its own is taken; gives the name."""
    for n in itertools.count(1):
        name = found.name if n == 1 else f"{found.name[:70]} ({n})"
        there = edits.directions.get(name)
        if there is None:
            edits.directions[name] = ConceptDirection(
                name, found.vector, found.made_of, found.model, found.strength, found.site, found.layer
            )
        if there is None or np.array_equal(there.vector, found.vector):
            return name
    raise AssertionError


def _draw_new(workspace: Workspace, base: Shown, key: str) -> None:
    st.html(
        '<div class="hint">The mean of the stream over one set of prompts less the mean over another, at their '
        "last token.</div>"
    )
    name = st.text_input("Name", key=f"{key}_name", placeholder="France less Italy")
    positive = st.text_area("Prompts with it, one a line", key=f"{key}_positive", height=90)
    negative = st.text_area("Prompts without it, one a line (may be empty)", key=f"{key}_negative", height=90)
    layers = list(range(base.engine.model.n_layers))
    layer = st.selectbox("After layer", layers, index=len(layers) // 2, key=f"{key}_layer")
    if not draw_press(st.button, "Make it", key=f"{key}_make"):
        return
    with problems.guard():
        with_it, without = (tuple(t for t in text.splitlines() if t.strip()) for text in (positive, negative))
        directions.check_name(name.strip())
        asked = DirectionRequest(name.strip(), with_it, without, layer=int(layer))
        workspace.edits.directions[asked.name] = jobs.compute_view(base.engine, asked, workspace.id, "edit-direction")
        set_kept(**{f"{key}_saved": asked.name})
        st.rerun()


def _draw_load(workspace: Workspace, base: Shown, key: str) -> None:
    """A file that cannot be used is said so as long as it lies there."""
    uploaded = st.file_uploader("Load a direction", type="safetensors", key=f"{key}_load", max_upload_size=1)
    if uploaded is None or workspace.options.get(f"{key}_loaded") == uploaded.file_id:
        return
    with problems.guard():
        name = store_direction(workspace.edits, directions.read(uploaded.getvalue(), base.engine.model.d_model))
        workspace.options[f"{key}_loaded"] = uploaded.file_id
        set_kept(**{f"{key}_saved": name})
        st.rerun()
