"""About this model: what it is, how exactly it is read, and what to send along with a question."""

import streamlit as st

from intravisto_ui.model import card, help
from intravisto_ui.parts import frame, help_button, problems
from intravisto_ui.session import workspace

TITLE = "About this model"

frame.through_app(TITLE)
with problems.guarded():
    here = workspace.current()
    line = frame.headline(TITLE, "What is this model, and are its numbers exact?")
    help_button.draw(line, help.MODEL)
    if here.engine is None:
        frame.nothing_yet("Opening the model …" if here.run else "No model is open: press Run at the left.")
    else:
        left, right = st.columns([3, 4], gap="medium")
        with left:
            card.card(here.engine.model)
        with right:
            card.capabilities(here.engine.model)
            card.diagnostics(here.engine)
