"""The question in the frame of every page: which token, rather than which other, after which position."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_ui.parts import components, token_field
from intravisto_ui.session.asked import Against, Asked
from intravisto_ui.session.question import Choice, Question, ask
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, escape_markdown, token_html
from intravisto_ui.session.workspace import Workspace

EXPLAIN = "pages/explain.py"
Side = Literal["target", "contrast"]
MEAN = "the mean of all tokens"
AGAINST = {Against.RUNNER_UP: "the runner-up", Against.MEAN: MEAN}
HELP = (
    "The two tokens that all pages speak of: which token is explained, and which one it is compared with. A click on a "
    "generated token asks about that one."
)
TARGET_HELP = (
    "The token whose score is explained, followed or measured. Empty: the token that the text goes on with after this "
    "position, else the token that the model finds most probable there."
)
CONTRAST_HELP = (
    "The token that the target is compared with. The difference of two scores says why this token and not that one."
)
AGAINST_HELP = (
    "What the target is compared with while no contrast is typed. The runner-up is the most probable token besides the "
    "target. The mean of all tokens answers why this token rather than any. What needs a second token (the effect of "
    "an edit, the check of a link) takes the runner-up then."
)


def draw(line: DeltaGenerator, workspace: Workspace, shown: Shown, question: Question, explains: bool = True) -> None:
    """The question as a button, which opens its fields; beside it the position that it is about.

    explains: whether there is a link to the page that answers it.
    """
    with line.popover(name_question(question), key="question", help=HELP):
        pair = st.columns(2)
        _draw_field(pair[0], workspace, shown, question, "target", "Target", question.target.shown, TARGET_HELP)
        open_end = MEAN if question.contrast is None else question.rival.shown
        _draw_field(pair[1], workspace, shown, question, "contrast", "Rather than", open_end, CONTRAST_HELP)
        _draw_against(workspace, question)
        _draw_end(workspace, question)
    read = shown.trace.tokens[question.position].shown
    line.html(f'<div class="hint">after position {question.position} ‘{token_html(read)}’</div>', width="content")
    if explains:
        line.page_link(EXPLAIN, label="Explain", help=f"Where {escape_markdown(question.target.shown)} comes from")


def name_question(question: Question) -> str:
    """`␣Mary over ␣John`, for a label, which Streamlit reads as Markdown."""
    other = MEAN if question.contrast is None else question.contrast.shown
    return f"**{escape_markdown(question.target.shown)}** over {escape_markdown(other)}"


def _draw_field(
    column: DeltaGenerator,
    workspace: Workspace,
    shown: Shown,
    question: Question,
    side: Side,
    label: str,
    placeholder: str,
    help: str,
) -> None:
    """One of the two tokens. Its key changes where a click or another run changed the question."""
    asked = workspace.asked
    wanted = asked.target if side == "target" else asked.contrast
    key, slot = f"question_{side}_{asked.n}", column.container(key=f"question_{side}")
    line = slot.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"question_{side}_line")
    text = wanted if isinstance(wanted, str) else _type_choice(question, side)
    text = line.text_input(
        label,
        value=text,
        key=key,
        placeholder=placeholder,
        help=help,
        on_change=_take_typed,
        args=(workspace, question, side, key),
    )
    components.draw_live(f"question_{side}")
    token_field.draw_tokens(
        slot, line, shown.engine, text, f"question_{side}", lambda t: _take_respelled(workspace, question, side, t)
    )


def _type_choice(question: Question, side: Side) -> str:
    choice: Choice | None = question.target if side == "target" else question.contrast
    return choice.typed if choice is not None and isinstance(choice.typed, str) else ""


def _draw_against(workspace: Workspace, question: Question) -> None:
    n = workspace.asked.n
    key = f"question_against_{n}"
    st.segmented_control(
        "Without a token there, it is compared with",
        list(AGAINST),
        default=workspace.asked.against,
        format_func=lambda a: f"the runner-up {question.runner_up.shown}" if a is Against.RUNNER_UP else AGAINST[a],
        key=key,
        required=True,
        help=AGAINST_HELP,
        disabled=bool(workspace.asked.contrast),
        on_change=_take_against,
        args=(workspace, key),
    )


def _draw_end(workspace: Workspace, question: Question) -> None:
    words = "All pages follow. Another prompt begins anew; an earlier run brings its question back."
    note = f"{question.note} " if question.note else ""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="question_end")
    line.html(f'<div class="hint">{escape_html(note + words)}</div>', width="stretch")
    line.button(
        "Reset",
        key="question_reset",
        on_click=ask,
        args=(workspace, lambda _: Asked()),
        disabled=replace(workspace.asked, n=0) == Asked(),
        help="Back to the token that the text goes on with, and its runner-up.",
    )


def _take_typed(workspace: Workspace, question: Question, side: Side, key: str) -> None:
    workspace.asked = _change_side(workspace, question, side, str(st.session_state.get(key) or ""))


def _take_respelled(workspace: Workspace, question: Question, side: Side, text: str) -> None:
    ask(workspace, lambda _: _change_side(workspace, question, side, text))


def _change_side(workspace: Workspace, question: Question, side: Side, text: str) -> Asked:
    """The question with another token on one side; it is about the position beside it while a token is typed."""
    asked = workspace.asked
    changed = replace(asked, target=text) if side == "target" else replace(asked, contrast=text)
    if changed.target or changed.contrast:
        return replace(changed, position=question.position)
    why = workspace.selection.target
    return replace(changed, position=None if why is None else why - 1)


def _take_against(workspace: Workspace, key: str) -> None:
    chosen = st.session_state.get(key)
    workspace.asked = replace(workspace.asked, against=Against(chosen or Against.RUNNER_UP))
