"""Acts of the user that wait for a script which waits itself.

Streamlit ends a running script for a newer one of the whole app, but lets a click inside a fragment wait until the
script has ended: a view that takes long would hold up every click. So what waits looks here whether a click waits too.
"""

from __future__ import annotations

import json

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests, ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import RunLocation, ThreadState

GROWS = "more"
"""The event by which a picture asks for what it still lacks."""


def is_waited_for() -> bool:
    """Whether the user has done something that the running script holds up; what a page asks by itself does not count,
    and a callback, which must do all of its work, is never held up.
    """
    requests = _find_requests()
    if requests is None or requests._state is not ScriptRequestType.RERUN:
        return False
    return not requests._rerun_data.is_auto_rerun and not _only_grows(requests._rerun_data)


def heed() -> None:
    """Give the turn to what the user has done since, if anything; this script then ends here."""
    end_if_stopped()
    if not is_waited_for():
        return
    try:
        st.rerun(scope="fragment")
    except StreamlitAPIException:
        # the whole app is being drawn: it is drawn again, with the click
        st.rerun()


def end_if_stopped() -> None:
    """End this script here where a newer one has taken its place: what it still asked for would be taken from that."""
    requests = _find_requests()
    if requests is not None and requests._state is ScriptRequestType.STOP:
        st.stop()


def draws_page() -> bool:
    """Whether a script of a page asks, outside of a callback."""
    return _find_requests() is not None


def _find_requests() -> ScriptRequests | None:
    """What waits for the running script; None in a callback and outside of an app."""
    context = get_script_run_ctx()
    if context is None or ThreadState.get().run_location is RunLocation.CALLBACK:
        return None
    return context.script_requests


def _only_grows(asked: RerunData) -> bool:
    """Whether nothing was pressed or clicked, and a picture alone asks for more of itself."""
    if asked.widget_states is None or not asked.fragment_id_queue:
        return False
    events = set()
    for state in asked.widget_states.widgets:
        if state.trigger_value:
            return False
        if state.json_trigger_value:
            told = json.loads(state.json_trigger_value)
            events |= {one.get("event") for one in (told if isinstance(told, list) else [told])}
    return events == {GROWS}
