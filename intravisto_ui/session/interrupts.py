"""Acts of the user that wait for a script which waits itself.

Streamlit ends a running script for a newer one of the whole app, but lets a click inside a fragment wait until the
script has ended: a view that takes long would hold up every click. So what waits looks here whether a click waits too.
"""

from __future__ import annotations

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import RunLocation, ThreadState


def is_waited_for() -> bool:
    """Whether the user has done something that the running script holds up; what a page asks by itself does not count,
    and a callback, which must do all of its work, is never held up.
    """
    context = get_script_run_ctx()
    requests = None if context is None else context.script_requests
    if requests is None or ThreadState.get().run_location is RunLocation.CALLBACK:
        return False
    return requests._state is ScriptRequestType.RERUN and not requests._rerun_data.is_auto_rerun


def heed() -> None:
    """Give the turn to what the user has done since, if anything; this script then ends here."""
    if not is_waited_for():
        return
    try:
        st.rerun(scope="fragment")
    except StreamlitAPIException:
        # the whole app is being drawn: it is drawn again, with the click
        st.rerun()
