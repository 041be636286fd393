"""The colours of the theme that the reader has, and short names of rows, for charts."""

from __future__ import annotations

import streamlit as st

LINES = {
    "light": ("#1f5fae", "#c2571a", "#1f8a4c", "#8a3fb0", "#7a6a10"),
    "dark": ("#6cb0f5", "#f2a35e", "#4fc27e", "#c99bee", "#d6c34a"),
}
INK = {"light": ("#17202e", "#5b6675", "#e3e8ef"), "dark": ("#e3e8ef", "#a3adbb", "#2d3644")}


def read_theme() -> str:
    """`light` or `dark`, as the browser shows the page."""
    return "dark" if st.context.theme.type == "dark" else "light"


def short_row_label(label: str) -> str:
    """A row's name where there is room for little: `emb`, `3`, `norm`."""
    return {"embeddings": "emb", "final norm": "norm"}.get(label, label.removeprefix("layer "))
