"""Flow: where a prediction comes from, as a flow, as a graph, as parts of a logit, and over the generation."""

import streamlit as st

from intravisto_ui.flow import help, tabs
from intravisto_ui.parts import frame, help_button, place_actions, problems
from intravisto_ui.session import address, workspace

TITLE = "Flow"


@st.fragment
def body() -> None:
    """All that answers to a click or an option without touching the sidebar."""
    with problems.guarded():
        here = workspace.current()
        head = st.container()
        if here.shown is None:
            with head:
                frame.headline(TITLE, tabs.QUESTIONS[place_actions.FLOW])
            frame.nothing_yet("Opening the model …" if here.run else "Nothing to show yet: press Run at the left.")
            return
        frame.strip()
        tab = tabs.switch()
        with head:
            line = frame.headline(TITLE, tabs.QUESTIONS[tab], frame.place_in_words())
            help_button.draw(line, help.PAGES)
        with problems.guarded():
            tabs.draw(here, tab, line)
        address.write(here.id, here.options)


frame.through_app(TITLE)
body()
