"""The frame of every page: name and question in one line, the selection in words, the token strip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from intravisto_core.records import row_label
from intravisto_ui.parts import components, edit_switch, theme
from intravisto_ui.session import garbage, workspace
from intravisto_ui.session.text import escaped, token

STYLE = Path(__file__).with_name("frame.css")
DIMMED = ".st-key-stage, .st-key-strip { opacity: .45; }"


def style() -> None:
    """The style sheet of all pages."""
    # menus and dialogs hang outside of the app's own element, which is the only one that Streamlit gives a scheme
    scheme = f":root {{ color-scheme: {theme.theme()}; }}"
    st.html(f"<style>{scheme}\n{STYLE.read_text(encoding='utf-8')}</style>")


def dim() -> None:
    """While something runs, dim the picture of the run before."""
    st.html(f"<style>{DIMMED if workspace.current().run is not None else ''} </style>")


def through_app(title: str) -> None:
    """Streamlit runs a page's file alone when its address is the first one that a fresh server is asked for.

    Then go to the page by way of app.py, which draws what all pages share. The page has loaded the libraries by then,
    which app.py would have put aside.
    """
    if "workspace" not in st.session_state:
        garbage.put_aside_late()
        st.session_state["asked_page"] = title
        st.switch_page("app.py")


def open_asked(pages: list[Any]) -> None:
    """The other half of `through_app`: go on to the page that was asked for."""
    asked = st.session_state.pop("asked_page", None)
    for page in pages:
        if page.title == asked:
            st.switch_page(page)


def headline(page: str, question: str, place: str = "") -> Any:
    """Page name, its question and the selection in words (HTML); returns the line, for buttons at its right."""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="headline")
    words = f'<span class="where" aria-live="polite">{place}</span>' if place else ""
    head = f'<h1 class="question"><span class="page">{escaped(page)}</span>{escaped(question)}</h1>'
    line.html(f'<div class="headline">{head}{words}</div>', width="stretch")
    return line


def place_in_words(detail: str = "") -> str:
    """The selection as HTML: `layer 3 · position 7 ‘␣Italy’ · block output`. Empty without one."""
    here = workspace.current()
    place, shown = here.place, here.shown
    if shown is None or place.row is None or place.position is None:
        return ""
    tokens = shown.trace.tokens
    if not 0 <= place.position < len(tokens):
        return ""
    row = row_label(place.row, shown.engine.model.n_layers)
    read = f"position {place.position} ‘{token(tokens[place.position].shown)}’"
    why = ""
    if place.target is not None and 0 <= place.target < len(tokens):
        why = f"why {token(tokens[place.target].shown)}? · "
    return why + f"{escaped(row)} · {read}" + (f" · {escaped(detail)}" if detail else "")


def strip() -> None:
    """The tokens of the trace; a click selects a position, or asks why a generated token came."""
    here = workspace.current()
    if here.shown is None:
        return
    trace = here.shown.trace
    place = here.place
    components.strip(
        tokens=trace.tokens,
        prompt_length=trace.prompt_length,
        rev=trace.id,
        top=here.shown.engine.model.n_layers + 1,
        selection={
            "row": place.row,
            "position": place.position,
            "target": place.target,
            "n": place.n,
            "part": place.part,
        },
        key="strip",
        on_select=here.select,
    )
    edit_switch.draw()


def nothing_yet(text: str) -> None:
    """What stands where the picture will be."""
    with st.container(key="nothing"):
        st.html(f'<div class="nothing"><b>{escaped(text)}</b></div>')
        st.skeleton(height=320)
