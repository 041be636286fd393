"""The prompt with its tokens, their number, and what may be wrong with it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.records import Token
from intravisto_ui import components, workspace
from intravisto_ui.examples import DEFAULT
from intravisto_ui.text import escaped, plural
from intravisto_ui.workspace import kept

CHIPS_SHOWN = 200


def prompt_field() -> None:
    """The text, its tokens as the model reads them, and their number."""
    here = workspace.current()
    text = kept(
        st.text_area,
        "Prompt",
        key="prompt",
        default=DEFAULT.prompt,
        height=92,
        help="The text that the model goes on from. Its tokens appear under it as you type.",
    )
    components.live("prompt")
    engine = here.engine
    if engine is None:
        return
    special = bool(here.options.get("add_special_tokens", True))
    tokens = _tokens(engine, text or "", special)
    with st.container():
        components.chips(tokens[:CHIPS_SHOWN], key="chips", rev=f"{engine.model.name}{special}{text}")
    room = engine.model.context
    over = len(tokens) + int(here.options.get("max_new_tokens") or 0) > room
    said = f"{plural(len(tokens), 'token')} of {room:,}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="count"):
        st.html(f'<span class="count{" over" if over else ""}">{said}</span>')
        with st.popover("Special tokens"):
            kept(
                st.toggle,
                "Put the model's start token first",
                key="add_special_tokens",
                default=True,
                help="Models are trained with it; without it the first word is read as a start.",
            )
    for warning in warnings(text or "", tokens, here.options, room):
        st.html(f'<div class="hint">{escaped(warning)}</div>')


def _tokens(engine: Any, text: str, special: bool) -> tuple[Token, ...]:
    try:
        return engine.tokenize(text, add_special_tokens=special) if text else ()
    except IntravistoError:
        return ()


def warnings(text: str, tokens: tuple[Token, ...], options: dict[str, Any], room: int) -> list[str]:
    """What a reader of the count should know before running."""
    n, more = len(tokens), int(options.get("max_new_tokens") or 0)
    found = []
    if not text:
        found.append("The prompt is empty: type something to run.")
    if n > room:
        found.append(f"Too long: the model reads at most {plural(room, 'token')}.")
    elif n + more > room:
        found.append(f"Prompt and generated text together pass {room:,} tokens: generate at most {room - n}.")
    if text.endswith((" ", "\t")):
        found.append("Ends with a space: most tokens begin with their own, so the next one may come out odd.")
    if n > 1 and tokens[0].is_special and tokens[0].id == tokens[1].id:
        found.append("Starts with the start token twice: one is typed, one is put first.")
    return found
