"""In a chat, the tokens that the model's template wrote: folded in the strip and the heatmap until one unfolds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from intravisto_core.records import Token
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

KEY, SYSTEM = "template_tokens", "system"
LEAST, LONGEST = 3, 120
HELP = (
    "The marks of the roles, and a system prompt where the template writes one, are tokens like any other: the model "
    "reads them, and heads look at them. They are left out of the tokens and the heatmap until this is on."
)


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions from start to stop (half open) that the template wrote, and that in words."""

    start: int
    stop: int
    words: str


def list_folds(tokens: Sequence[Token], prompt_length: int, kept: int | None = None) -> tuple[Fold, ...]:
    """Runs of at least three tokens of the template. One that holds the position `kept` stays open, and so does the
    last position of the prompt, which says the answer's first token.
    """
    folds, start = [], None
    for position in range(prompt_length):
        inside = bool(tokens[position].template) and position < prompt_length - 1
        if inside and start is None:
            start = position
        if start is not None and not inside:
            folds.append((start, position))
            start = None
    return tuple(
        Fold(a, b, _describe(tokens[a:b]))
        for a, b in folds
        if b - a >= LEAST and not (kept is not None and a <= kept < b)
    )


def read_own_system_prompt(tokens: Sequence[Token]) -> str:
    """The system prompt that the template wrote of its own, or ""."""
    return "".join(token.text for token in tokens if token.template == SYSTEM).strip()


def _describe(tokens: Sequence[Token]) -> str:
    prompt = read_own_system_prompt(tokens)
    holds = f", among them its own system prompt: “{prompt}”" if prompt else ""
    return f"{plural(len(tokens), 'token')} of the chat template{holds}"


def find_folds(workspace: Workspace, shown: Shown) -> tuple[Fold, ...]:
    """What is folded now; nothing where the reader unfolded it."""
    if workspace.options.get(KEY):
        return ()
    return list_folds(shown.trace.tokens, shown.trace.prompt_length, workspace.selection.position)


def draw_switch(shown: Shown) -> None:
    """The switch, with the template's own system prompt beside it; nothing for a text without a template."""
    written = [token for token in shown.trace.tokens if token.template]
    if not written:
        return
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="template_line")
    draw_kept(line.toggle, f"Show the template’s {plural(len(written), 'token')}", key=KEY, default=False, help=HELP)
    prompt = read_own_system_prompt(written)
    if prompt:
        short = prompt if len(prompt) <= LONGEST else prompt[: LONGEST - 1] + "…"
        said = f"The template begins with a system prompt of its own: “{short}”"
        line.html(f'<div class="hint" title="{escape_html(prompt)}">{escape_html(said)}</div>', width="stretch")
