"""A token for the Hugging Face Hub, typed for this workspace: in memory only, never shown again."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import HubError, RequestError
from intravisto_core.models.remote.hub_token import check_token
from intravisto_ui.session.workspace import Workspace

WANTED = ("gated", "token")


def is_wanted(error: Exception | None) -> bool:
    """Whether an obstacle is one that a token may take away."""
    return isinstance(error, HubError) and error.kind in WANTED


def draw(workspace: Workspace, container: DeltaGenerator) -> None:
    """The field, or that a token is kept and the button that forgets it."""
    if workspace.token:
        line = container.container(horizontal=True, vertical_alignment="center", gap="small", key="token_line")
        line.html('<div class="hint">A token is kept for this workspace.</div>', width="stretch")
        line.button("Forget it", key="forget_token", on_click=_forget_token, args=(workspace,))
        return
    container.text_input(
        "Token of the Hugging Face Hub",
        key="hub_token",
        type="password",
        placeholder="hf_…",
        on_change=_take_token,
        args=(workspace,),
        help="For models whose owners ask for acceptance. It stays in this server's memory, for this workspace only, "
        "and is not written anywhere. Without one, the server's own HF_TOKEN is used, where there is one.",
    )


def _take_token(workspace: Workspace) -> None:
    typed, st.session_state["hub_token"] = st.session_state.get("hub_token") or "", ""
    if not typed.strip():
        return
    try:
        workspace.token = check_token(typed)
    except RequestError as error:
        workspace.problem = error
        return
    if is_wanted(workspace.problem):
        workspace.problem = None


def _forget_token(workspace: Workspace) -> None:
    workspace.token = ""
