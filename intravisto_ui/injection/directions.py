"""Directions of an edit: a token's own, or one that was made from prompts or loaded from a file."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.models import directions
from intravisto_core.records import ConceptDirection
from intravisto_core.request import DirectionRequest, TensorRef
from intravisto_ui.parts import problems, token_field
from intravisto_ui.parts.choices import named
from intravisto_ui.parts.kept import kept, set_kept
from intravisto_ui.session import jobs
from intravisto_ui.session.edit_stack import Edits
from intravisto_ui.session.text import escaped, escaped_markdown
from intravisto_ui.session.workspace import Shown, Workspace

FROM = {"token": "a token", "saved": "a saved one"}
STACK = "came with an edit of a loaded stack"


def field(here: Workspace, shown: Shown, key: str, label: str) -> Any:
    """A direction: a token's text, or one that was saved under a name; None where none is."""
    origin = kept(
        st.segmented_control,
        label,
        key=f"{key}_from",
        default="token",
        valid=lambda v: v in FROM,
        options=list(FROM),
        format_func=FROM.__getitem__,
        required=True,
        help="A token's own direction in the stream, or the difference between two sets of prompts.",
    )
    if origin == "token":
        help = "The direction that raises this token's score most."
        return token_field.draw(st, shown.engine, "Token", key=key, placeholder='" Paris"', help=help)
    line = st.container(horizontal=True, gap="small", key=f"{key}_line")
    with line.popover("New direction", key=f"{key}_new"):
        _new(here, shown, key)
    with line.popover("File", key=f"{key}_file", help="Save the chosen direction, or load one"):
        place = st.container()
        _load(here, shown, key)
    saved = here.edits.directions
    if not saved:
        place.html('<div class="hint">None is here yet: make one, or load the file of one.</div>')
        return None
    chosen = saved[named(st, "Saved", f"{key}_saved", {n: n for n in saved}, "", next(iter(saved)))]
    other = "" if chosen.model in ("", shown.engine.model.name) else f"; made on {chosen.model}"
    st.html(f'<div class="hint">{escaped(chosen.made_of + other)}</div>')
    place.download_button(
        f"Save “{escaped_markdown(chosen.name)}”",
        data=directions.written(chosen),
        file_name=chosen.name + directions.SUFFIX,
        mime="application/octet-stream",
        key=f"{key}_download",
        on_click="ignore",
    )
    return chosen


def known(edits: Edits, ref: TensorRef) -> str:
    """The name under which the array of an edit is among the directions; it is put there where it is not."""
    assert ref.content is not None
    try:
        directions.check_name(name := str(ref.name))
    except RequestError:
        name = "direction"
    return keep(edits, ConceptDirection(name, ref.content, STACK, ""))


def keep(edits: Edits, found: ConceptDirection) -> str:
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


def _new(here: Workspace, shown: Shown, key: str) -> None:
    st.html(
        '<div class="hint">The mean of the stream over one set of prompts less the mean over another, at their '
        "last token.</div>"
    )
    name = st.text_input("Name", key=f"{key}_name", placeholder="France less Italy")
    positive = st.text_area("Prompts with it, one a line", key=f"{key}_positive", height=90)
    negative = st.text_area("Prompts without it, one a line (may be empty)", key=f"{key}_negative", height=90)
    layers = list(range(shown.engine.model.n_layers))
    layer = st.selectbox("After layer", layers, index=len(layers) // 2, key=f"{key}_layer")
    if not st.button("Make it", key=f"{key}_make"):
        return
    with problems.guarded():
        with_it, without = (tuple(t for t in text.splitlines() if t.strip()) for text in (positive, negative))
        directions.check_name(name.strip())
        asked = DirectionRequest(name.strip(), with_it, without, layer=int(layer))
        here.edits.directions[asked.name] = jobs.view(shown.engine, asked, here.id, "edit-direction")
        set_kept(**{f"{key}_saved": asked.name})
        st.rerun()


def _load(here: Workspace, shown: Shown, key: str) -> None:
    """A file that cannot be used is said so as long as it lies there."""
    uploaded = st.file_uploader("Load a direction", type="safetensors", key=f"{key}_load", max_upload_size=1)
    if uploaded is None or here.options.get(f"{key}_loaded") == uploaded.file_id:
        return
    with problems.guarded():
        name = keep(here.edits, directions.read(uploaded.getvalue(), shown.engine.model.d_model))
        here.options[f"{key}_loaded"] = uploaded.file_id
        set_kept(**{f"{key}_saved": name})
        st.rerun()
