"""The prompt with its tokens, their number, and what may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.errors import IntravistoError
from intravisto_core.records import Token
from intravisto_core.sites import TokenKind
from intravisto_ui.parts import components
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.tokenizing import tokenize
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import chat
from intravisto_ui.sidebar.examples import DEFAULT

CHIPS_SHOWN = 200
START = "Many models are trained with a start token before every text; without it the first word is read as a start."
NO_START = "This model's tokenizer puts none."


@dataclass(frozen=True, slots=True)
class Caution:
    """What a reader should know before running. mend, puts: one click that mends it, its words and what it sets."""

    text: str
    mend: str = ""
    puts: dict[str, Any] = field(default_factory=dict)


def draw_prompt(workspace: Workspace) -> None:
    """The text, its tokens as the model reads them, and their number."""
    chat.draw(workspace)
    chatting = chat.is_on(workspace)
    text = draw_kept(
        st.text_area,
        "You say" if chatting else "Prompt",
        key="prompt",
        default=DEFAULT.prompt,
        height=92,
        help="The text that the model goes on from. Its tokens appear under it as you type.",
    )
    components.draw_live("prompt")
    engine = workspace.engine
    if engine is None:
        return
    tokens, refused = read_tokens(workspace, engine, text or "")
    with st.container():
        components.draw_chips(tokens[:CHIPS_SHOWN], key="chips", rev=f"{engine.model.name}{text}")
    _draw_count(workspace, engine, len(tokens), chatting)
    found = find_cautions(text or "", tokens, workspace.options, engine.model.context, chatting)
    for i, caution in enumerate([Caution(refused)] if refused else found):
        _draw_caution(caution, f"mend_{i}")


def read_tokens(workspace: Workspace, engine: Engine, text: str) -> tuple[tuple[Token, ...], str]:
    """The tokens that a run would read, and why there are none where the model's template refuses."""
    if not text:
        return (), ""
    special = bool(workspace.options.get("add_special_tokens", True))
    try:
        said = chat.read_messages(workspace)
        return tokenize(engine, text, special, chat=chat.is_on(workspace), messages=said), ""
    except IntravistoError as error:
        return (), str(error)


def _draw_count(workspace: Workspace, engine: Engine, n: int, chatting: bool) -> None:
    room = engine.model.context
    over = room and n + int(workspace.options.get("max_new_tokens") or 0) > room
    words = f"{plural(n, 'token')} of at most {room:,}" if room else plural(n, "token")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="count"):
        st.html(f'<span class="count{" over" if over else ""}">{words}</span>', width="content")
        with st.popover("Special tokens"):
            adds = _adds_start(workspace, engine)
            why = "In a chat the model's template decides." if chatting else "" if adds else NO_START
            draw_kept(
                st.toggle,
                "Put the model's start token first",
                key="add_special_tokens",
                default=True,
                disabled=chatting or not adds,
                help=f"{START} {why}".strip(),
            )


def _adds_start(workspace: Workspace, engine: Engine) -> bool:
    """Whether the model's tokenizer begins a text with a token of its own."""

    def ask() -> bool:
        return any(token.is_special for token in tokenize(engine, "a")[:1])

    return workspace.keep(("start token", engine.model.name), ask)


def _draw_caution(caution: Caution, key: str) -> None:
    if not caution.mend:
        st.html(f'<div class="hint">{escape_html(caution.text)}</div>')
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"line_{key}"):
        st.html(f'<div class="hint">{escape_html(caution.text)}</div>', width="stretch")
        st.button(caution.mend, key=key, on_click=set_kept, kwargs=caution.puts)


def find_cautions(
    text: str, tokens: tuple[Token, ...], options: dict[str, Any], room: int, chatting: bool
) -> list[Caution]:
    """What may be wrong with a prompt. room: the model's context, 0 where it states none."""
    if not text:
        return [Caution("The prompt is empty: type something to run.")]
    n, more = len(tokens), int(options.get("max_new_tokens") or 0)
    found = []
    if room and n > room:
        found.append(Caution(f"Too long: {n:,} tokens, and the model reads at most {room:,}. Shorten it."))
    elif room and n + more > room:
        what = f"Too long: {n:,} tokens and {more:,} to generate; the model reads at most {room:,}."
        found.append(Caution(what, f"Generate {room - n:,}", {"max_new_tokens": room - n}))
    bare = text.rstrip(" \t")
    if bare != text and not chatting:
        what = "Ends with a space. The next token usually begins with one of its own, so the answer may be odd."
        found.append(Caution(what, "Remove it", {"prompt": bare}))
    if n > 1 and tokens[0].is_special and tokens[0].id == tokens[1].id:
        found.append(_start_token_caution(text, tokens[1], chatting))
    unknown = sum(t.kind is TokenKind.UNKNOWN for t in tokens)
    if unknown:
        one = next(t.shown for t in tokens if t.kind is TokenKind.UNKNOWN)
        what = (
            f"{plural(unknown, 'part')} of the text cannot be written in this vocabulary: the model reads {one} there."
        )
        found.append(Caution(what))
    return found


def _start_token_caution(text: str, start: Token, chatting: bool) -> Caution:
    """The start token is there twice, a common slip: the tokenizer puts it first, and the text begins with it too."""
    what = f"Begins with the start token {start.shown} twice: models are trained with one."
    if chatting:
        return Caution(what)
    typed = text.lstrip()
    puts = {"prompt": typed.removeprefix(start.text)} if typed.startswith(start.text) else {"add_special_tokens": False}
    return Caution(what, "Remove one", puts)
