"""The stack of edits as cards: on or off, in order, each in words; undo and redo; run; files of a stack."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from intravisto_core.errors import IntravistoError, RequestError
from intravisto_core.request import from_json, in_words, to_json
from intravisto_ui import edit_form, problems, workspace
from intravisto_ui.edits import Card
from intravisto_ui.text import escaped, plural
from intravisto_ui.workspace import Workspace, kept

MOST_BYTES = 1_000_000
EMPTY = (
    "No edits yet. Make one below, or click a cell of the heatmap and choose <i>inject here</i> or <i>ablate here</i>."
)


def draw(here: Workspace) -> None:
    """The cards, and under them what is done with the whole stack."""
    cards = here.edits.cards
    if not cards:
        st.html(f'<div class="hint">{EMPTY}</div>')
    for number, card in enumerate(cards, start=1):
        with st.container(border=True, key=f"card_{card.id}"):
            _card(here, card, number, len(cards))
    _stack(here)


def _card(here: Workspace, card: Card, number: int, count: int) -> None:
    edits, shade = here.edits, "" if card.on else " off"
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"card_line_{card.id}")
    line.toggle(
        f"Edit {number} on",
        value=card.on,
        key=f"card_on_{card.id}_{card.on}",
        label_visibility="collapsed",
        on_change=edits.switch,
        args=(card.id,),
    )
    line.html(f'<div class="card{shade}"><b>{number}</b> {escaped(in_words(card.what))}</div>', width="stretch")
    with line.popover("⋯", key=f"card_more_{card.id}", help="Edit, move, copy or remove"):
        for label, act, args, possible in (
            ("Edit", edit_form.load, (here, card), True),
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


def _stack(here: Workspace) -> None:
    edits = here.edits
    n, node = len(edits.on()), edits.node()
    busy = node is not None and not node.ended
    label = f"Run with {plural(n, 'edit')}" if n else "Run without edits"
    st.button(
        label,
        key="edits_run",
        type="primary" if edits.is_stale() else "secondary",
        width="stretch",
        disabled=busy or here.base is None or not n,
        on_click=_run,
        help="Runs the shown prompt again with the edits that are on, in this order within one place.",
    )
    if edits.refusal is not None:
        problems.inline(edits.refusal)
    line = st.container(horizontal=True, gap="small", vertical_alignment="center")
    line.button("Undo", key="edits_undo", on_click=edits.undo, disabled=not edits.past)
    line.button("Redo", key="edits_redo", on_click=edits.redo, disabled=not edits.future)
    with line.popover("File", key="edits_file"):
        _file(here)
    kept(
        st.toggle,
        "Also let the model write on",
        key="edits_free",
        default=True,
        help="A second run in which the model goes on by itself after the prompt. Numbers are always of the same text.",
    )


def _run() -> None:
    here = workspace.current()
    if here.base is None:
        return
    here.edits.refusal = None
    try:
        here.edits.run(here.base, here.id, bool(here.options.get("edits_free", True)))
    except IntravistoError as error:
        here.edits.refusal = error


def _file(here: Workspace) -> None:
    st.download_button(
        "Save the stack",
        data=written(here.edits.cards),
        file_name="edits.json",
        mime="application/json",
        key="edits_save",
        on_click="ignore",
        disabled=not here.edits.cards,
    )
    uploaded = st.file_uploader("Load a stack", type="json", key="edits_load", max_upload_size=1)
    if uploaded is None or here.options.get("edits_loaded") == uploaded.file_id:
        return
    here.options["edits_loaded"] = uploaded.file_id
    with problems.guarded():
        here.edits.take(read(uploaded.getvalue()))
        st.rerun()


def written(cards: tuple[Card, ...]) -> bytes:
    """A stack as a JSON file: the interventions in order, with which of them are on."""
    listed = [{"on": card.on, "edit": json.loads(to_json(card.what))} for card in cards]
    return (json.dumps({"intravisto_edits": 1, "cards": listed}, indent=1) + "\n").encode()


def read(body: bytes) -> tuple[Any, ...]:
    """The interventions of such a file.

    Raises:
        RequestError: it is none.
    """
    wanted = "edits: expected a file that this page saved; "
    if len(body) > MOST_BYTES:
        raise RequestError(f"{wanted}got one of {len(body):,} bytes")
    try:
        cards = json.loads(body)["cards"]
        found = tuple(from_json(json.dumps(card["edit"])) for card in cards)
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"{wanted}got something else") from None
    for what in found:
        in_words(what)
    return found
