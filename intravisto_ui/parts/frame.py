"""The frame of every page: its skeleton, name and question in one line, the selection in words, the token strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.navigation.page import StreamlitPage

from intravisto_core.records import row_label
from intravisto_ui.parts import components, edit_switch, help_button, problems, theme
from intravisto_ui.parts.help_button import HelpText
from intravisto_ui.session import address, garbage
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Shown, Workspace
from intravisto_ui.session.workspaces import current_workspace

STYLE = Path(__file__).with_name("frame.css")
DIMMED = ".st-key-stage, .st-key-strip { opacity: .45; }"

Subject = TypeVar("Subject")


def _no_buttons(line: DeltaGenerator) -> None:
    return None


@dataclass(frozen=True)
class Headline:
    """The first line of a page. It stands above the options whose choices it tells, so a body draws it after them."""

    title: str
    question: str
    help: HelpText
    container: DeltaGenerator

    def draw(
        self,
        selection: str = "",
        question: str = "",
        buttons: Callable[[DeltaGenerator], None] = _no_buttons,
    ) -> DeltaGenerator:
        """Draw title, question, selection (HTML) and help; returns the line, for more buttons at its end.

        question: instead of the page's own. buttons: draws those that stand before the help.
        """
        line = self._draw_words(selection, question)
        buttons(line)
        help_button.draw(line, self.help)
        return line

    def draw_bare(self) -> None:
        """Title and question alone, where there is nothing to show yet."""
        self._draw_words("", "")

    def _draw_words(self, selection: str, question: str) -> DeltaGenerator:
        line = self.container.container(horizontal=True, vertical_alignment="center", gap="small", key="headline")
        title, words = escape_html(self.title), escape_html(question or self.question)
        head = f'<h1 class="question"><span class="page">{title}</span>{words}</h1>'
        where = f'<span class="where" aria-live="polite">{selection}</span>' if selection else ""
        line.html(f'<div class="headline">{head}{where}</div>', width="stretch")
        return line


def draw_page(
    title: str,
    question: str,
    help: HelpText,
    find: Callable[[Workspace], Subject | None],
    body: Callable[[Workspace, Subject, Headline], None],
    missing: str = "Nothing to show yet: press Run at the left.",
) -> None:
    """A whole page.

    find: what the page is about; while there is none, `missing` says so. body: draws everything under the frame; it
    answers to clicks and options without the sidebar being drawn again.
    """
    _open_through_app(title)

    @st.fragment
    def draw_body() -> None:
        with problems.guard():
            workspace = current_workspace()
            headline = Headline(title, question, help, st.container())
            subject = find(workspace)
            if subject is None:
                headline.draw_bare()
                draw_nothing_yet("Opening the model …" if workspace.run else missing)
                return
            body(workspace, subject, headline)
            address.write(workspace.id, workspace.options)

    draw_body()


def draw_style() -> None:
    """The style sheet of all pages."""
    # menus and dialogs hang outside of the app's own element, which is the only one that Streamlit gives a scheme
    scheme = f":root {{ color-scheme: {theme.read_theme()}; }}"
    st.html(f"<style>{scheme}\n{STYLE.read_text(encoding='utf-8')}</style>")


def dim_picture(workspace: Workspace) -> None:
    """While something runs, dim the picture of the run before."""
    st.html(f"<style>{DIMMED if workspace.run is not None else ''} </style>")


def _open_through_app(title: str) -> None:
    """Streamlit runs a page's file alone when its address is the first one that a fresh server is asked for.

    Then go to the page by way of app.py, which draws what all pages share. The page has loaded the libraries by then,
    which app.py would have put aside.
    """
    if "workspace" not in st.session_state:
        garbage.put_aside_late()
        st.session_state["asked_page"] = title
        st.switch_page("app.py")


def open_asked_page(pages: Sequence[StreamlitPage]) -> None:
    """The other half of the way through app.py: go on to the page that was asked for."""
    asked = st.session_state.pop("asked_page", None)
    for page in pages:
        if page.title == asked:
            st.switch_page(page)


def describe_selection(workspace: Workspace, shown: Shown, detail: str = "") -> str:
    """The selection as HTML: `layer 3 · position 7 ‘␣Italy’ · block output`. Empty without one."""
    selection, tokens = workspace.selection, shown.trace.tokens
    if selection.row is None or selection.position is None or not 0 <= selection.position < len(tokens):
        return ""
    row = row_label(selection.row, shown.engine.model.n_layers)
    read = f"position {selection.position} ‘{token_html(tokens[selection.position].shown)}’"
    why = ""
    if selection.target is not None and 0 <= selection.target < len(tokens):
        why = f"why {token_html(tokens[selection.target].shown)}? · "
    return why + f"{escape_html(row)} · {read}" + (f" · {escape_html(detail)}" if detail else "")


def draw_strip(workspace: Workspace, shown: Shown) -> None:
    """The tokens of the trace; a click selects a position, or asks why a generated token came."""
    trace = shown.trace
    components.draw_strip(
        tokens=trace.tokens,
        prompt_length=trace.prompt_length,
        rev=trace.id,
        top=shown.engine.model.n_layers + 1,
        selection=workspace.selection,
        key="strip",
        on_select=workspace.select,
    )
    edit_switch.draw(workspace.edits)


def draw_nothing_yet(text: str) -> None:
    """What stands where the picture will be."""
    with st.container(key="nothing"):
        st.html(f'<div class="nothing"><b>{escape_html(text)}</b></div>')
        st.skeleton(height=320)
