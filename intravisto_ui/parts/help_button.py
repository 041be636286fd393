"""The “?” of a page: what its picture shows, how to read it, how it is computed, where it misleads."""

from __future__ import annotations

from typing import Any

import streamlit as st


def draw(place: Any, text: str | dict[str, str]) -> None:
    """A “?” that opens the text, or several under their names. A dialog: a popover as large closes at its own click."""
    if place.button("?", key="help_menu"):
        _open(text)


@st.dialog("What this shows", width="medium")
def _open(text: str | dict[str, str]) -> None:
    if isinstance(text, str):
        st.markdown(text)
        return
    for tab, part in zip(st.tabs(list(text)), text.values(), strict=True):
        tab.markdown(part)
