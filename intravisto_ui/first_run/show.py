"""Before the libraries are there: the saved run as the picture, and a line that says what loads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st

from intravisto_core.engine import Trace, open_trace
from intravisto_core.errors import IntravistoError
from intravisto_core.request import ModelSpec
from intravisto_ui.parts.kept import copy_widgets
from intravisto_ui.session import settings
from intravisto_ui.session.libraries import libraries
from intravisto_ui.session.pool import list_offered
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import generation
from intravisto_ui.sidebar.examples import DEFAULT

FILE = Path(__file__).with_name("run.intravisto")
SPEC = ModelSpec(settings.DEMO)
POLL_S = 0.5


@cache
def read_run() -> Trace | None:
    """The run of the file; None where it cannot be read: then the page waits for the model."""
    try:
        return open_trace(FILE)
    except IntravistoError:
        return None


def show(workspace: Workspace) -> None:
    """Show the saved run, where it is what a new workspace begins with and this server offers it."""
    workspace.options.setdefault("prompt", DEFAULT.prompt)
    workspace.options.setdefault("max_new_tokens", DEFAULT.max_new_tokens)
    trace = read_run()
    if workspace.started or workspace.base is not None or trace is None:
        return
    if trace.request == generation.build_request(workspace) and _begins_with_demo():
        workspace.show_saved(trace)


def _begins_with_demo() -> bool:
    """Whether the demo model is what a new workspace opens: a service may offer others, or have others before it."""
    offered = list_offered()
    if offered is not None:
        return offered[:1] == (SPEC,)
    allowed = settings.read().models
    return allowed is None or SPEC in allowed


def draw_waiting(workspace: Workspace) -> None:
    """The sidebar until the libraries are there."""
    copy_widgets()
    st.html('<div class="brand">InTraVisTo<small>a language model, layer by layer</small></div>')
    _draw_waiting("This picture is a saved run of it; it already answers most clicks." if workspace.shows_saved else "")


@st.fragment(run_every=POLL_S)
def _draw_waiting(about: str) -> None:
    # the browser asks for this once it has drawn the page: only then may loading take the processor
    shown = st.session_state.get("first_page_drawn", False)
    st.session_state["first_page_drawn"] = True
    if shown:
        libraries().start()
    libraries().put_aside()
    if libraries().are_loaded():
        st.rerun(scope="app")
    st.html(f'<div class="status busy" role="status"><i></i>Loading the libraries of the model. {about}</div>')
