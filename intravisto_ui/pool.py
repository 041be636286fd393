"""The loaded models of this server, shared by all sessions."""

from __future__ import annotations

import os
from typing import Any

import streamlit as st

from intravisto_core.request import ModelSpec

PART_OF_MEMORY = 0.5


@st.cache_resource(show_spinner=False)
def pool() -> Any:
    """The pool (`intravisto_core.Pool`), whose models together may take half of this machine's memory."""
    import intravisto_core as iv

    return iv.Pool(byte_budget=int(PART_OF_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def renew(spec: ModelSpec, session: str) -> Any:
    """Keep a loaded model for a session that still looks at it; None where it is gone: it is not loaded again."""
    return pool().lease(spec, session=session) if pool().renew(spec, session=session) else None


def release(spec: ModelSpec, session: str) -> None:
    """Let another session's model take the room."""
    pool().release(spec, session=session)
