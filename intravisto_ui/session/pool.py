"""The loaded models of this server, shared by all sessions."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from intravisto_core.request import ModelSpec
from intravisto_ui.session import settings

PART_OF_MEMORY = 0.5


@st.cache_resource(show_spinner=False)
def pool() -> Any:
    """The pool (`intravisto_core.Pool`), whose models together may take half of the memory that there is."""
    import intravisto_core as iv
    from intravisto_core.models.free_memory import total_bytes

    idle = 60.0 * settings.read().idle_minutes or math.inf
    return iv.Pool(int(PART_OF_MEMORY * total_bytes()), idle_seconds=idle)


def renew(spec: ModelSpec, session: str) -> Any:
    """Keep a loaded model for a session that still looks at it; None where it is gone: it is not loaded again."""
    return pool().lease(spec, session=session) if pool().renew(spec, session=session) else None


def release(spec: ModelSpec, session: str) -> None:
    """Let another session's model take the room."""
    pool().release(spec, session=session)
