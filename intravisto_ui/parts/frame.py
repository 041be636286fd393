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
from intravisto_core.sites import Colour
from intravisto_ui.parts import components, edit_switch, help_button, problems, question_bar, template_fold, theme
from intravisto_ui.parts.help_button import HelpText
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session import address, garbage, restart
from intravisto_ui.session.libraries import libraries
from intravisto_ui.session.question import Question, find_question
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import escape_html, token_html
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.session.workspaces import ASKED_ADDRESS, current_workspace

STYLE = Path(__file__).with_name("frame.css")
DIMMED = ".st-key-stage, .st-key-strip { opacity: .45; }"

Subject = TypeVar("Subject")


def _no_buttons(line: DeltaGenerator) -> None:
    return None


@dataclass(frozen=True)
class Headline:
    """The first line of a page. It stands above the options whose choices it tells, so a body draws it after them.

    model: whose picture it is, as HTML.
    """

    title: str
    question: str
    help: HelpText
    container: DeltaGenerator
    model: str = ""

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
        line.html(f'<div class="headline">{head}{self.model}{where}</div>', width="stretch")
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
        with st.container(key="page"), problems.guard():
            workspace = current_workspace()
            headline = Headline(title, question, help, st.container(), name_model(workspace))
            subject = find(workspace)
            if subject is None:
                headline.draw_bare()
                opening = workspace.run is not None or not libraries().are_loaded()
                draw_nothing_yet("Opening the model …" if opening else missing)
                return
            body(workspace, subject, headline)
            # of buttons that are gone
            workspace.presses.clear()
            address.write(workspace.id, workspace.options)
            restart.write_down(workspace)

    draw_body()


def name_model(workspace: Workspace) -> str:
    """The model that the page's picture is of, as HTML; marked where another one is open by now."""
    if workspace.shown is None:
        return ""
    name = escape_html(workspace.shown.engine.model.name)
    if workspace.shows_saved and workspace.shown.trace.interventions:
        why = "This run came from a file and was made with edits. Run at the left loads the model and runs the prompt."
        return f'<span class="model">{name}</span><span class="model old" title="{why}">saved run, edited</span>'
    if workspace.spec in (None, workspace.shown.spec):
        return f'<span class="model" title="{name}: the model that this is a picture of">{name}</span>'
    why = f"This is still a picture of {name}. Another model is open by now: press Run to see what that one does."
    return f'<span class="model old" title="{why}">still {name}</span>'


def draw_style() -> None:
    """The style sheet of all pages."""
    # menus and dialogs hang outside of the app's own element, which is the only one that Streamlit gives a scheme
    scheme = f":root {{ color-scheme: {theme.read_theme()}; }}"
    st.html(f"<style>{scheme}\n{STYLE.read_text(encoding='utf-8')}</style>")


def dim_picture(workspace: Workspace) -> None:
    """While something runs, dim the picture of the run before."""
    st.html(f"<style>{DIMMED if is_dimmed(workspace) else ''} </style>")


def is_dimmed(workspace: Workspace) -> bool:
    """Whether the picture is of another run than the one that goes on; one from a file stays while it is run again."""
    run, base = workspace.run, workspace.base
    if run is None:
        return False
    if base is None or not workspace.shows_saved or run.request is None:
        return not workspace.shows_saved
    asked, saved = run.request, base.request
    return (asked.prompt, asked.messages) != (saved.prompt, saved.messages)


def _open_through_app(title: str) -> None:
    """Streamlit runs a page's file alone when its address is the first one that a fresh server is asked for.

    Then go to the page by way of app.py, which draws what all pages share. The page has loaded the libraries by then,
    which app.py would have put aside.
    """
    if "workspace" not in st.session_state:
        garbage.put_aside_late()
        # what the address says is lost at the switch
        st.session_state["asked_page"] = title
        st.session_state[ASKED_ADDRESS] = dict(st.query_params)
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
    if selection.head is not None:
        row += f" · head {selection.head}"
    why = ""
    if selection.target is not None and 0 <= selection.target < len(tokens):
        why = f"why {token_html(tokens[selection.target].shown)}? · "
    return why + describe_place(shown, row, selection.position) + (f" · {escape_html(detail)}" if detail else "")


def describe_place(shown: Shown, row: str, position: int) -> str:
    """A row and a position in words, as HTML: `layer 3 · position 7 ‘␣Italy’`."""
    return f"{escape_html(row)} · position {position} ‘{token_html(shown.trace.tokens[position].shown)}’"


def draw_strip(
    workspace: Workspace,
    shown: Shown,
    find: Callable[[Workspace, Shown], Question] = find_question,
    explains: bool = True,
    tokens: bool = True,
) -> None:
    """The tokens of the trace; a click selects a position, or asks why a generated token came. Under them the question
    that all pages answer, and the edits.

    find: the question that the page answers. explains: whether there is a link to the page that answers it in full.
    tokens: whether they are drawn; a picture that is the text itself needs no second one.
    """
    if tokens:
        strip = st.container(key="strip_slot")
        # the switch stands under the strip, which is drawn as it says
        template_fold.draw_switch(shown)
        with strip:
            _draw_tokens(workspace, shown)
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="frame_bar")
    with problems.guard():
        question_bar.draw(line, workspace, shown, find(workspace, shown), explains)
    edit_switch.draw(line, workspace.edits)


def _draw_tokens(workspace: Workspace, shown: Shown) -> None:
    trace = shown.trace
    components.draw_strip(
        tokens=trace.tokens,
        prompt_length=trace.prompt_length,
        rev=trace.id,
        top=shown.engine.model.n_layers + 1,
        selection=workspace.selection,
        key="strip",
        on_select=lambda chosen: _select_token(workspace, chosen),
        folds=template_fold.find_folds(workspace, shown),
    )


def _select_token(workspace: Workspace, chosen: Report) -> None:
    """Take the selection; asking why a token came colours the heatmap by the probability of that token."""
    before = workspace.asked.n
    workspace.select(chosen)
    if workspace.asked.n != before:
        set_kept(colour=Colour.PROBABILITY)


def draw_nothing_yet(text: str) -> None:
    """What stands where the picture will be."""
    with st.container(key="nothing"):
        st.html(f'<div class="nothing"><b>{escape_html(text)}</b></div>')
        st.skeleton(height=320)
