"""All workspaces of this server, and the one that a browser tab shows."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from intravisto_ui.session import address, journal, restart
from intravisto_ui.session.workspace import Workspace

ASKED_ADDRESS = "asked_address"
"""Where an address waits that was asked for before the app itself had begun."""
LIFETIME_S = 12 * 3600


class Workspaces:
    """All workspaces of the server; one that nobody has used for `lifetime_s` seconds is closed."""

    def __init__(self, lifetime_s: float = LIFETIME_S) -> None:
        self._kept: dict[str, Workspace] = {}
        self._lifetime = lifetime_s
        self._lock = threading.Lock()

    def find(self, id: str | None) -> Workspace | None:
        """The workspace of that id, if it is still there."""
        with self._lock:
            now = time.monotonic()
            lapsed = [k for k, w in self._kept.items() if now - w.touched > self._lifetime]
            closed = [self._kept.pop(k) for k in lapsed]
            found = self._kept.get(id or "")
            if found is not None:
                found.touched = now
        for workspace in closed:
            workspace.close()
        return found

    def rest_unseen(self, is_open: Callable[[str], bool]) -> None:
        """Let those rest whose browser tab was closed. is_open: whether the tab of a session is there."""
        with self._lock:
            shown = [workspace for workspace in self._kept.values() if workspace.session]
        for workspace in shown:
            if not is_open(workspace.session):
                workspace.rest()

    def new(self, id: str = "") -> Workspace:
        """An empty workspace under that id, or under a random one."""
        workspace = Workspace(id or secrets.token_urlsafe(12))
        with self._lock:
            self._kept[workspace.id] = workspace
        return workspace


@st.cache_resource(show_spinner=False)
def workspaces() -> Workspaces:
    """The one store of this server."""
    return Workspaces()


def current_workspace() -> Workspace:
    """This session's workspace: the one of the session, else of the address, else a new one.

    Two tabs on one address would fight over one selection: a second one gets a copy of its own.
    """
    state = st.session_state
    asked: dict[str, str] = state.pop(ASKED_ADDRESS, None) or dict(st.query_params)
    id, session = state.get("workspace") or asked.get(address.WORKSPACE), _read_session()
    workspace = workspaces().find(id)
    if workspace is None:
        entry = journal.read(id)
        workspace = workspaces().new(id if id and entry else "")
        if entry is not None:
            restart.bring_back(workspace, entry)
        workspace.options.update(address.read_options(asked))
        if id and entry is None:
            workspace.notice = "The workspace of this address is no longer kept. This is a new one."
    elif workspace.session != session and _is_open(workspace.session):
        copied, workspace = workspace, workspaces().new()
        copied.copy_into(workspace)
        workspace.notice = "This address is open in another tab. This is a copy of its own; neither changes the other."
    state["workspace"], workspace.session = workspace.id, session
    workspace.resume()
    if runtime.exists():
        workspaces().rest_unseen(_is_open)
    return workspace


def _read_session() -> str:
    context = get_script_run_ctx(suppress_warning=True)
    return "" if context is None else context.session_id


def _is_open(session: str) -> bool:
    """Whether a browser tab is connected with that session just now."""
    return bool(session) and runtime.exists() and runtime.get_instance().is_active_session(session)
