"""The injection page: cards, tree and form at the left, what followed at the right."""

from __future__ import annotations

import streamlit as st

from intravisto_core.request import CompareView
from intravisto_ui.injection import card_words, cards, examples, export, form, results, set_aside, tree
from intravisto_ui.parts import problems
from intravisto_ui.parts.frame import Headline, describe_selection, draw_strip
from intravisto_ui.session import jobs
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace

INTRODUCTION = (
    "Make an edit at the left and run it: the same prompt goes through the model again with that change inside. "
    "Here you will then see both texts, what moved in every cell, and by how much, beside the change "
    "that doing nothing makes."
)

SAVED = (
    "This is a saved run, without its model. An edit needs the model: press Run at the left, which loads it and runs "
    "the prompt again."
)


def draw_body(workspace: Workspace, base: Shown, headline: Headline) -> None:
    """Everything under the frame. base: the run without edits."""
    shown = workspace.shown or base
    draw_strip(workspace, shown, find_asked_question)
    line = headline.draw(describe_selection(workspace, shown))
    if workspace.shows_saved:
        _draw_saved(workspace, base)
        return
    with st.container(key="edit_page"):
        left, right = st.columns([1, 2], gap="medium")
    with left, problems.guard():
        set_aside.draw(workspace, base)
        cards.draw(workspace, base)
        tree.draw(workspace, base)
        form.draw(workspace, base)
    compared = None
    with right, problems.guard():
        compared = _draw_results(workspace, base)
    export.draw_menu(line, workspace, base, compared)


def _draw_saved(workspace: Workspace, base: Shown) -> None:
    """A run from a file: its heatmap, and the edits that it was made with. There is nothing to run here."""
    st.html(f'<div class="hint">{SAVED}</div>')
    trace = base.trace
    made = [card_words.describe_in(trace.tokens, trace.prompt_length, what) for what in trace.interventions]
    words = f"The saved run, made with {plural(len(made), 'edit')}: {'; '.join(made)}" if made else "The saved run"
    with problems.guard():
        results.draw_baseline(workspace, base, f"{words}.")


def _draw_results(workspace: Workspace, base: Shown) -> CompareView | None:
    node = workspace.edits.current_node()
    if node is None:
        _draw_beginning(workspace, base)
        return None
    if node.error is not None:
        problems.draw_inline(node.error)
    if not node.ended:
        _draw_progress(workspace)
    compared = results.draw(workspace, base, node)
    tree.draw_comparison(workspace, base)
    return compared


def _draw_beginning(workspace: Workspace, base: Shown) -> None:
    """What can be done, experiments to begin with, and the baseline, whose cells are places for an edit."""
    st.html(f'<div class="hint">{INTRODUCTION}</div>')
    examples.draw(workspace, base)
    results.draw_baseline(workspace, base)


@st.fragment(run_every=jobs.POLL_S)
def _draw_progress(workspace: Workspace) -> None:
    node = workspace.edits.current_node()
    if node is None or node.collect() or node.ended:
        st.rerun(scope="app")
    part, words = node.progress()
    st.progress(part, text=words)
    st.button("Cancel", key="edits_cancel", on_click=node.cancel)
