"""Flow: where a prediction comes from, as a flow, as a graph, as parts of a logit, and over the generation."""

import streamlit as st

from intravisto_ui import address, flow_help, flow_tabs, frame, help_texts, problems, workspace

TITLE = "Flow"


@st.fragment
def body() -> None:
    """All that answers to a click or an option without touching the sidebar."""
    with problems.guarded():
        here = workspace.current()
        head = st.container()
        if here.shown is None:
            with head:
                frame.headline(TITLE, flow_tabs.QUESTIONS[flow_tabs.FLOW])
            frame.nothing_yet("Opening the model …" if here.run else "Nothing to show yet: press Run at the left.")
            return
        frame.strip()
        tab = flow_tabs.switch()
        with head:
            line = frame.headline(TITLE, flow_tabs.QUESTIONS[tab], frame.place_in_words())
            help_texts.button(line, flow_help.PAGES)
        with problems.guarded():
            flow_tabs.draw(here, tab, line)
        address.write(here.id, here.options)


frame.through_app(TITLE)
body()
