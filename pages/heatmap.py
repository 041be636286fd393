"""Heatmap: every layer's guess at every position, one cell each."""

import streamlit as st

from intravisto_ui.heatmap import cell_panel, export, find, help, options
from intravisto_ui.heatmap import picture as heatmap_picture
from intravisto_ui.parts import frame, help_button, problems
from intravisto_ui.session import address, workspace

TITLE = "Heatmap"
QUESTION = "Which token would each layer predict here?"


@st.fragment
def body() -> None:
    """All that answers to a click or an option without touching the sidebar."""
    with problems.guarded():
        here = workspace.current()
        head = st.container()
        if here.shown is None:
            with head:
                frame.headline(TITLE, QUESTION)
            frame.nothing_yet("Opening the model …" if here.run else "Nothing to show yet: press Run at the left.")
            return
        frame.strip()
        chosen = options.draw(here.shown)
        with head:
            line = frame.headline(TITLE, QUESTION, frame.place_in_words(chosen.view.component.label))
            find.popover(line)
            help_button.draw(line, help.PAGES)
            export.popover(line, here, chosen)
        stage = st.container(horizontal=True, gap="small", key="stage")
        picture, detail = (
            stage.container(width="stretch", key="picture"),
            stage.container(width=340, key="detail", border=True),
        )
        with picture, problems.guarded():
            heatmap_picture.draw(here, chosen)
        with detail, problems.guarded():
            cell_panel.draw(here, chosen)
        address.write(here.id, here.options)


frame.through_app(TITLE)
body()
