"""The “?” of a page: what its picture shows, how to read it, how it is computed, where it misleads."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_ui.parts.presses import draw_press

HelpText = str | Mapping[str, str]
"""One text, or several under their names."""


def draw(container: DeltaGenerator, text: HelpText) -> None:
    """A “?” that opens the text, or several under their names. A dialog: a popover as large closes at its own click."""
    if draw_press(container.button, "?", key="help_menu"):
        _open_dialog(text)


@st.dialog("What this shows", width="medium")
def _open_dialog(text: HelpText) -> None:
    if isinstance(text, str):
        st.markdown(text)
        return
    for tab, part in zip(st.tabs(list(text)), text.values(), strict=True):
        tab.markdown(part)
