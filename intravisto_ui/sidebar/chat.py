"""A conversation around the prompt, for models that bring a chat template: instructions, and what was said before."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.request import TraceRequest, Turn
from intravisto_ui.parts import components
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.session.workspace import Workspace

MOST_EXCHANGES = 8
SYSTEM = "system"


def is_on(workspace: Workspace) -> bool:
    """Whether the prompt is a user's turn: chosen, and the model that is open has a template for it."""
    return bool(workspace.options.get("chat")) and workspace.engine is not None and workspace.engine.model.chat


def read_messages(workspace: Workspace) -> tuple[Turn, ...]:
    """What is said before the prompt; nothing without a chat."""
    if not is_on(workspace):
        return ()
    get = workspace.options.get
    system = get(SYSTEM) or ""
    turns = [(SYSTEM, system)] if system.strip() else []
    for i in range(_count_exchanges(workspace)):
        turns += [("user", get(f"said_{i}") or ""), ("assistant", get(f"answered_{i}") or "")]
    return tuple(turns)


def read_options(request: TraceRequest) -> dict[str, Any]:
    """The options of the conversation that a request holds: `is_on` and `messages` read backwards."""
    if not request.chat:
        return {"chat": False}
    said = [text for role, text in request.messages if role == "user"]
    answered = [text for role, text in request.messages if role == "assistant"]
    found: dict[str, Any] = {"chat": True, "exchanges": len(said)}
    found[SYSTEM] = next((text for role, text in request.messages if role == SYSTEM), "")
    for i, (question, answer) in enumerate(zip(said, answered, strict=True)):
        found |= {f"said_{i}": question, f"answered_{i}": answer}
    return found


def draw(workspace: Workspace) -> None:
    """The switch, and beside it what is said before the prompt. Nothing for a model without a template."""
    if workspace.engine is None or not workspace.engine.model.chat:
        return
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="chat_line")
    draw_kept(
        line.toggle,
        "Chat",
        key="chat",
        default=False,
        help="This model was trained on conversations. With this on, your text is what a user says, and the model's "
        "own template writes the marks of the roles around it, as the tokens below show. Off: the text as it stands.",
    )
    if is_on(workspace):
        said = len(read_messages(workspace))
        with line.popover(f"Roles ({said})" if said else "Roles"):
            _draw_turns(workspace)


def _draw_turns(workspace: Workspace) -> None:
    _draw_field("Instructions (system)", SYSTEM, "You are a helpful assistant.")
    n = _count_exchanges(workspace)
    for i in range(n):
        _draw_field(f"{i + 1}. You said", f"said_{i}", "what the user said")
        _draw_field(f"{i + 1}. The model answered", f"answered_{i}", "what the assistant answered")
    pair = st.columns(2)
    pair[0].button(
        "Add a turn",
        key="more_turns",
        disabled=n == MOST_EXCHANGES,
        on_click=set_kept,
        kwargs={"exchanges": min(n + 1, MOST_EXCHANGES)},
        width="stretch",
    )
    pair[1].button(
        "Remove the last",
        key="fewer_turns",
        disabled=n == 0,
        on_click=set_kept,
        kwargs={"exchanges": max(n - 1, 0)},
        width="stretch",
    )


def _draw_field(label: str, key: str, placeholder: str) -> None:
    draw_kept(st.text_area, label, key=key, default="", height=68, placeholder=placeholder)
    components.draw_live(key)


def _count_exchanges(workspace: Workspace) -> int:
    return int(workspace.options.get("exchanges") or 0)
