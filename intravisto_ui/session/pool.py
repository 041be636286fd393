"""The loaded models of this server, shared by all sessions."""

from __future__ import annotations

import math

import streamlit as st

from intravisto_core.engine import Engine, Pool
from intravisto_core.engine.limits import Limits
from intravisto_core.models.free_memory import total_bytes
from intravisto_core.request import ModelSpec
from intravisto_ui.session import settings

PART_OF_MEMORY = 0.5


def pool() -> Pool:
    """The pool (`intravisto_core.Pool`), whose models together may take half of the memory that there is."""
    allowed = settings.read()
    return _make_pool(60.0 * allowed.idle_minutes or math.inf, allowed.limits())


@st.cache_resource(show_spinner=False)
def _make_pool(idle_seconds: float, limits: Limits) -> Pool:
    """One pool for all sessions, as long as the settings stay what they are."""
    return Pool(int(PART_OF_MEMORY * total_bytes()), idle_seconds=idle_seconds, limits=limits)


def renew_lease(spec: ModelSpec, session: str) -> Engine | None:
    """Keep a loaded model for a session that still looks at it; None where it is gone: it is not loaded again."""
    return pool().lease(spec, session=session) if pool().renew(spec, session=session) else None


def release_lease(spec: ModelSpec, session: str) -> None:
    """Let another session's model take the room."""
    pool().release(spec, session=session)
