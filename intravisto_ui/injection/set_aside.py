"""Edits of the text that was shown before: set aside, in sight, and taken over only where the reader asks for it."""

from __future__ import annotations

import streamlit as st

from intravisto_ui.injection import card_words
from intravisto_ui.parts import edit_sources
from intravisto_ui.session.edit_stack import Edits, SetAside
from intravisto_ui.session.edit_tree import Card
from intravisto_ui.session.re_aim import Aimed, name_aside, re_aim
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, plural
from intravisto_ui.session.workspace import Workspace


def draw(workspace: Workspace, base: Shown) -> None:
    """What is set aside, where each edit would go, and the two ways on."""
    edits, aside = workspace.edits, workspace.edits.aside
    if aside is None:
        return
    with st.container(border=True, key="edits_aside"):
        one = len(aside.cards) == 1
        does, them = ("is", "it names places") if one else ("are", "they name places")
        st.html(
            f'<div class="title"><b>Set aside</b></div><div class="under">{escape_html(name_aside(aside))} {does} not '
            f"run here: {them} of that text. Under “Earlier runs” you find that text with its results.</div>"
        )
        tokens, start = base.trace.tokens, base.trace.prompt_length
        found = [re_aim(card.what, aside, tokens, start) for card in aside.cards]
        for card, aimed in zip(aside.cards, found, strict=True):
            st.html(f'<div class="card">{_describe(aside, base, card, aimed)}</div>')
        fitting = [aimed.what for aimed in found if aimed.what is not None]
        line = st.container(horizontal=True, gap="small", key="edits_aside_line")
        line.button(
            f"Take over {'it' if one else plural(len(fitting), 'edit')}",
            key="edits_take_over",
            on_click=edits.take_over,
            args=(fitting,),
            disabled=not fitting,
            help="Adds them to the edits of this text, at the places that are named here.",
        )
        line.button("Forget", key="edits_forget", on_click=_forget, args=(edits,), help="They stay with their own text")


def _describe(aside: SetAside, base: Shown, card: Card, aimed: Aimed) -> str:
    """The edit in words of its own text, and where it would act in this one."""
    source = edit_sources.describe_source(card.what)
    was = escape_html(card_words.describe_in(aside.tokens, aside.prompt_length, card.what) + source)
    if aimed.what is None:
        return f'{was}<div class="hint misfit">this text is too short for it</div>'
    if not card_words.names_tokens(card.what):
        return f'{was}<div class="hint">the same here</div>'
    here = card_words.describe_places(base.trace.tokens, base.trace.prompt_length, aimed.what)
    lacks = ", ".join(f"‘{token}’" for token in aimed.missing)
    no = f'<div class="hint misfit">this text has no {escape_html(lacks)}</div>' if lacks else ""
    return f'{was}<div class="hint">here: {escape_html(here)}</div>{no}'


def _forget(edits: Edits) -> None:
    edits.aside = None
