"""Injection: change something inside, see what follows."""

import streamlit as st

from intravisto_core.request import CompareView
from intravisto_ui.injection import cards, examples, export, form, help, results, tree
from intravisto_ui.parts import frame, help_button, problems
from intravisto_ui.session import address, jobs, workspace

TITLE = "Injection"
QUESTION = "What follows when something inside is changed?"
INTRODUCTION = (
    "Make an edit at the left and run it: the same prompt goes through the model again with that change inside. "
    "Here you will then see both texts, what moved in every cell, and by how much, beside the change "
    "that doing nothing makes."
)


@st.fragment
def body() -> None:
    """All that answers to a click or an option without touching the sidebar."""
    with problems.guarded():
        here = workspace.current()
        head = st.container()
        if here.base is None:
            with head:
                frame.headline(TITLE, QUESTION)
            frame.nothing_yet("Opening the model …" if here.run else "Nothing to change yet: press Run at the left.")
            return
        frame.strip()
        with head:
            line = frame.headline(TITLE, QUESTION, frame.place_in_words())
            help_button.draw(line, help.PAGES)
        with st.container(key="edit_page"):
            left, right = st.columns([1, 2], gap="medium")
        with left, problems.guarded():
            cards.draw(here)
            tree.draw(here)
            form.draw(here)
        compared = None
        with right, problems.guarded():
            compared = _results(here)
        export.popover(line, here, compared)
        address.write(here.id, here.options)


def _results(here: workspace.Workspace) -> CompareView | None:
    node = here.edits.node()
    if node is None:
        _beginning(here)
        return None
    if node.error is not None:
        problems.inline(node.error)
    if not node.ended:
        _running()
    compared = results.draw(here, node)
    tree.compare(here)
    return compared


def _beginning(here: workspace.Workspace) -> None:
    """What can be done, experiments to begin with, and the baseline, whose cells are places for an edit."""
    shown = here.base
    assert shown is not None
    st.html(f'<div class="hint">{INTRODUCTION}</div>')
    examples.draw(here, shown)
    results.baseline(here)


@st.fragment(run_every=jobs.POLL_S)
def _running() -> None:
    node = workspace.current().edits.node()
    if node is None or node.collect() or node.ended:
        st.rerun(scope="app")
    part, words = node.progress()
    st.progress(part, text=words)
    st.button("Cancel", key="edits_cancel", on_click=node.cancel)


frame.through_app(TITLE)
body()
