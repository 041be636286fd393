"""The stack of edits as cards: on or off, in order, each in words; undo and redo; run; files of a stack."""

from __future__ import annotations

import streamlit as st

from intravisto_ui.injection import card_words, fit, form, read_back
from intravisto_ui.parts import edit_run, problems
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.edit_tree import Card
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.stack_file import read_stack, write_stack
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace

EMPTY = (
    "No edits yet. Make one with this form, or from a cell of the other pages: <i>inject here</i>, <i>ablate here</i>."
)


def draw(workspace: Workspace, base: Shown) -> None:
    """The cards, and under them what is done with the whole stack."""
    cards = workspace.edits.cards
    if not cards:
        st.html(f'<div class="hint">{EMPTY}</div>')
    for number, card in enumerate(cards, start=1):
        with st.container(border=True, key=f"card_{card.id}"):
            _draw_card(workspace, base, card, number, len(cards))
    if cards or workspace.edits.past or workspace.edits.future or workspace.edits.runs:
        _draw_stack(workspace, base)
    else:
        with st.popover("Load a stack", key="edits_file"):
            _draw_file(workspace)


def _draw_card(workspace: Workspace, base: Shown, card: Card, number: int, count: int) -> None:
    edits, shade = workspace.edits, "" if card.on else " off"
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"card_line_{card.id}")
    line.toggle(
        f"Edit {number} on",
        value=card.on,
        key=f"card_on_{card.id}_{card.on}",
        label_visibility="collapsed",
        on_change=edits.switch,
        args=(card.id,),
    )
    words = escape_html(card_words.describe_card(workspace, base, card.what))
    line.html(f'<div class="card{shade}"><b>{number}</b> {words}</div>', width="stretch")
    with line.popover("⋯", key=f"card_more_{card.id}", help="Edit, move, copy or remove"):
        for label, act, args, possible in (
            ("Edit", form.load_card, (workspace, card), True),
            ("Up", edits.move, (card.id, -1), number > 1),
            ("Down", edits.move, (card.id, 1), number < count),
            ("Duplicate", edits.duplicate, (card.id,), True),
            ("Remove", edits.remove, (card.id,), True),
        ):
            st.button(
                label,
                key=f"card_{label}_{card.id}",
                on_click=act,
                args=args,
                disabled=not possible,
                width="stretch",
                type="tertiary",
            )
    node = edits.current_node()
    ran = node is not None and any(made.what == card.what for made in node.cards)
    if node is not None and ran and (reads := read_back.describe_result(workspace, base, node, card.what)):
        st.html(f'<div class="hint read_back">{reads}</div>')
    if card.on and (why := fit.describe_misfit(card.what, base)):
        st.html(f'<div class="hint misfit" role="alert">Does not fit this text: {escape_html(why)}</div>')


def _draw_stack(workspace: Workspace, base: Shown) -> None:
    edits = workspace.edits
    n, node = len(edits.active_cards()), edits.current_node()
    busy = node is not None and not node.ended
    line = st.container(horizontal=True, gap="small", vertical_alignment="center", key="edits_line")
    pressed = draw_press(
        line.button,
        f"Run {plural(n, 'edit')}" if n else "Run",
        key="edits_run",
        type="primary" if n and edits.is_stale() and form.find_edited_card(workspace) is None else "secondary",
        width="stretch",
        disabled=busy or not n,
        help="Runs the shown prompt again with the edits that are on, in this order within one place.",
    )
    line.button("↶", key="edits_undo", on_click=edits.undo, disabled=not edits.past, help="Undo the last change")
    line.button("↷", key="edits_redo", on_click=edits.redo, disabled=not edits.future, help="Redo")
    with line.popover("File", key="edits_file", help="Save the stack, or load one"):
        _draw_file(workspace)
    if edits.refusal is not None:
        problems.draw_inline(edits.refusal)
    if pressed:
        edit_run.run_edits(workspace, base)
        st.rerun()
    draw_kept(
        st.toggle,
        "Also let the model write on",
        key="edits_free",
        default=True,
        help="A second run in which the model goes on by itself after the prompt. Numbers are always of the same text.",
    )


def _draw_file(workspace: Workspace) -> None:
    st.download_button(
        "Save the stack",
        data=write_stack(workspace.edits.cards),
        file_name="edits.json",
        mime="application/json",
        key="edits_save",
        on_click="ignore",
        disabled=not workspace.edits.cards,
    )
    uploaded = st.file_uploader("Load a stack", type="json", key="edits_load", max_upload_size=1)
    if uploaded is None or workspace.options.get("edits_loaded") == uploaded.file_id:
        return
    workspace.options["edits_loaded"] = uploaded.file_id
    with problems.guard():
        workspace.edits.load(read_stack(uploaded.getvalue()))
        st.rerun()
