"""The loaded models of this server, shared by all sessions."""

from __future__ import annotations

from typing import Any

import streamlit as st


@st.cache_resource(show_spinner=False)
def pool() -> Any:
    """The pool (`intravisto_core.Pool`). The core is imported here, so that the frame is painted before torch loads."""
    import intravisto_core as iv

    return iv.Pool()
