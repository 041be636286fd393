"""Heatmap: every layer's guess at every position, one cell each."""

import streamlit as st

from intravisto_ui import (
    address,
    cell,
    export,
    find,
    frame,
    heatmap_options,
    heatmap_picture,
    help_texts,
    problems,
    workspace,
)

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
        chosen = heatmap_options.draw(here.shown)
        with head:
            line = frame.headline(TITLE, QUESTION, frame.place_in_words(chosen.view.component.label))
            find.popover(line)
            help_texts.button(line, help_texts.PAGES)
            export.popover(line, here, chosen)
        stage = st.container(horizontal=True, gap="small", key="stage")
        picture, detail = (
            stage.container(width="stretch", key="picture"),
            stage.container(width=340, key="detail", border=True),
        )
        with picture, problems.guarded():
            heatmap_picture.draw(here, chosen)
        with detail, problems.guarded():
            cell.draw(here, chosen)
        address.write(here.id, here.options)


frame.through_app(TITLE)
body()
