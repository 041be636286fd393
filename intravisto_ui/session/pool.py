"""The loaded models of this server, shared by all sessions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.engine.limits import Limits
from intravisto_core.request import ModelSpec
from intravisto_ui.session import settings
from intravisto_ui.session.remote_pool import RemotePool

if TYPE_CHECKING:
    from intravisto_core.engine import Pool

PART_OF_MEMORY = 0.5


def pool() -> Pool | RemotePool:
    """The pool (`intravisto_core.Pool`), whose models together may take half of the memory that there is.

    Where the app uses a service, the models of that.
    """
    if (url := settings.read_engine()) is not None:
        return make_remote_pool(url)
    allowed = settings.read()
    return _make_pool(60.0 * allowed.idle_minutes or math.inf, allowed.limits())


@st.cache_resource(show_spinner=False)
def _make_pool(idle_seconds: float, limits: Limits) -> Pool:
    """One pool for all sessions, as long as the settings stay what they are."""
    # torch is loaded here
    from intravisto_core.engine import Pool
    from intravisto_core.models.free_memory import total_bytes

    return Pool(int(PART_OF_MEMORY * total_bytes()), idle_seconds=idle_seconds, limits=limits)


@st.cache_resource(show_spinner=False)
def make_remote_pool(url: str) -> RemotePool:
    """One for all sessions."""
    return RemotePool(url)


def list_offered() -> tuple[ModelSpec, ...] | None:
    """The models of the service that the app uses; None where it opens its own."""
    url = settings.read_engine()
    return None if url is None else make_remote_pool(url).models()


def renew_lease(spec: ModelSpec, session: str) -> Engine | None:
    """Keep a loaded model for a session that still looks at it; None where it is gone: it is not loaded again."""
    return pool().lease(spec, session=session) if pool().renew(spec, session=session) else None


def release_lease(spec: ModelSpec, session: str) -> None:
    """Let another session's model take the room."""
    pool().release(spec, session=session)
