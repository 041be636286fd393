"""What edits take from elsewhere: the values of another prompt, and saved directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from intravisto_core.request import Ablate, DirectionRequest, Intervention, Patch, TraceRequest
from intravisto_ui import jobs, problems, token_field, widgets
from intravisto_ui.choices import named
from intravisto_ui.text import escaped
from intravisto_ui.widgets import kept
from intravisto_ui.workspace import Shown, Workspace

FROM = {"token": "a token", "saved": "a saved one"}


def field(key: str) -> str:
    """The prompt that values come from."""
    return str(
        kept(
            st.text_area,
            "Other prompt",
            key=key,
            default="",
            height=70,
            placeholder="Q: What is the capital of France? A:",
            help="It is run unedited; its values are put in.",
        )
        or ""
    )


def request(shown: Shown, prompt: str) -> TraceRequest:
    """What is asked of the model for another prompt: nothing generated, with the same treatment as the shown one."""
    asked = shown.request
    return TraceRequest(prompt, chat=asked.chat, add_special_tokens=asked.add_special_tokens)


def trace(here: Workspace, shown: Shown, prompt: str) -> Any:
    """The unedited trace of another prompt, run once and kept with the runs of this baseline."""
    if prompt not in here.edits.sources:
        made = jobs.view(shown.engine, request(shown, prompt), here.id, "edit-source")
        made.pin()
        here.edits.sources[prompt] = made
    return here.edits.sources[prompt]


def ready(here: Workspace, shown: Shown, what: Intervention) -> Intervention:
    """An intervention of a card as it can be run: where it names a prompt, that prompt's trace.

    Raises:
        IntravistoError: the prompt cannot be run.
    """
    prompt = prompt_of(what)
    return what if prompt is None else replace(what, source=trace(here, shown, prompt).id)


def prompt_of(what: Intervention) -> str | None:
    """The prompt that an intervention takes values from, if it does."""
    source = what.source if isinstance(what, Patch | Ablate) else None
    return source if isinstance(source, str) else None


def direction(here: Workspace, shown: Shown, key: str, label: str) -> Any:
    """A direction: a token's text, or one that was saved under a name."""
    saved = here.edits.directions
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
    _new(here, shown, key)
    if not saved:
        return None
    names = {name: name for name in saved}
    chosen = named(st, "Saved", f"{key}_saved", names, "", next(iter(names)))
    st.html(f'<div class="hint">{escaped(saved[chosen].made_of)}</div>')
    return saved[chosen]


def _new(here: Workspace, shown: Shown, key: str) -> None:
    with st.popover("New direction", key=f"{key}_new"):
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
            lines = [tuple(t for t in text.splitlines() if t.strip()) for text in (positive, negative)]
            asked = DirectionRequest(name.strip(), *lines, layer=int(layer))
            here.edits.directions[asked.name] = jobs.view(shown.engine, asked, here.id, "edit-direction")
            widgets.put(**{f"{key}_saved": asked.name})
            st.rerun()
