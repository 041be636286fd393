"""A token for the Hugging Face Hub, typed for this workspace: in memory only, never shown again."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.errors import HubError, RequestError
from intravisto_ui.session import workspace

WANTED = ("gated", "token")


def is_wanted(error: Exception | None) -> bool:
    """Whether an obstacle is one that a token may take away."""
    return isinstance(error, HubError) and error.kind in WANTED


def draw(place: Any) -> None:
    """The field, or that a token is kept and the button that forgets it."""
    here = workspace.current()
    if here.token:
        line = place.container(horizontal=True, vertical_alignment="center", gap="small", key="token_line")
        line.html('<div class="hint">A token is kept for this workspace.</div>', width="stretch")
        line.button("Forget it", key="forget_token", on_click=_forget)
        return
    place.text_input(
        "Token of the Hugging Face Hub",
        key="hub_token",
        type="password",
        placeholder="hf_…",
        on_change=_take,
        help="For models whose owners ask for acceptance. It stays in this server's memory, for this workspace only, "
        "and is not written anywhere. Without one, the server's own HF_TOKEN is used, where there is one.",
    )


def _take() -> None:
    here = workspace.current()
    typed, st.session_state["hub_token"] = st.session_state.get("hub_token") or "", ""
    if not typed.strip():
        return
    import intravisto_core as iv

    try:
        here.token = iv.check_token(typed)
    except RequestError as error:
        here.problem = error
        return
    if is_wanted(here.problem):
        here.problem = None


def _forget() -> None:
    workspace.current().token = ""
