"""The frame of a page: a picture, and beside it what is selected."""

from __future__ import annotations

from typing import Any

import streamlit as st


def stage() -> tuple[Any, Any]:
    """Room for a picture, and for a panel beside it."""
    room = st.container(horizontal=True, gap="small", key="stage")
    return room.container(width="stretch", key="picture"), room.container(width=340, key="detail", border=True)


def second_half() -> Any:
    """Room for the lower half of a panel; beside the upper one where the panel lies below the picture."""
    return st.container(key="flow_more_of_it")
