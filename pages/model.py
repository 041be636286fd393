"""About this model: what it is, how exactly it is read, and what to send along with a question."""

import streamlit as st

from intravisto_ui import frame, help_texts, model_card, problems, workspace

TITLE = "About this model"

frame.through_app(TITLE)
with problems.guarded():
    here = workspace.current()
    line = frame.headline(TITLE, "What is this model, and are its numbers exact?")
    help_texts.button(line, help_texts.MODEL)
    if here.engine is None:
        frame.nothing_yet("Opening the model …" if here.run else "No model is open: press Run at the left.")
    else:
        left, right = st.columns([3, 4], gap="medium")
        with left:
            model_card.card(here.engine.model)
        with right:
            model_card.capabilities(here.engine.model)
            model_card.diagnostics(here.engine)
