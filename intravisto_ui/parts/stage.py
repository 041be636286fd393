"""The frame of a page: a picture, and beside it what is selected."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def draw_stage() -> tuple[DeltaGenerator, DeltaGenerator]:
    """A container for a picture, and one for a panel beside it."""
    whole = st.container(horizontal=True, gap="small", key="stage")
    return whole.container(width="stretch", key="picture"), whole.container(width=340, key="detail", border=True)


def draw_whole() -> DeltaGenerator:
    """A container for a picture that has no panel; how far it is stands over it, and moves nothing."""
    return st.container(key="whole")


def draw_lower_half() -> DeltaGenerator:
    """A container for the lower half of a panel; beside the upper one where the panel lies below the picture."""
    return st.container(key="flow_more_of_it")


def draw_option_line() -> DeltaGenerator:
    """A container for the options of a picture, side by side above it."""
    return st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="options")
