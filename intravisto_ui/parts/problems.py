"""The error box: what happened, why, what to do. A page never shows a stack trace, and keeps its last picture."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import streamlit as st

from intravisto_core import errors
from intravisto_ui.session import jobs
from intravisto_ui.session.libraries import libraries
from intravisto_ui.session.text import escape_html, link_html
from intravisto_ui.session.workspace import Workspace

log = logging.getLogger("intravisto")

TITLES: tuple[tuple[type[Exception], str], ...] = (
    (errors.RequestError, "This cannot be run as it stands"),
    (errors.ModelError, "The model could not be opened"),
    (errors.MemoryShortError, "There is not enough memory for this"),
    (errors.BusyError, "Busy just now"),
    (errors.MissingProgramError, "Something that this needs is not installed"),
    (errors.Cancelled, "Cancelled"),
    (errors.IntravistoError, "This did not work"),
)


def describe_error(error: Exception) -> tuple[str, str]:
    """Title and text of an error, for people. What was not foreseen is named by its kind only."""
    for kind, title in TITLES:
        if isinstance(error, kind):
            return title, str(error)
    kind_name = type(error).__name__
    return (
        f"Something went wrong inside the program ({kind_name})",
        "Everything that was there before is still there. The details are in the log of the process that runs this app "
        f"(the terminal it was started from), at {datetime.now():%H:%M:%S}.",
    )


def draw_box(workspace: Workspace) -> None:
    """Draw the workspace's problem or notice, if there is one, with a button that puts it away."""
    if workspace.problem is None and not workspace.notice:
        return
    title, text = describe_error(workspace.problem) if workspace.problem is not None else ("", workspace.notice)
    kind = "problem" if workspace.problem is not None else "notice"
    with st.container(horizontal=True, vertical_alignment="center", key=kind):
        head = f"<b>{escape_html(title)}</b>" if title else ""
        st.html(f'<div class="box" role="alert">{head}<span>{link_html(text)}</span></div>', width="stretch")
        st.button("Dismiss", key="dismiss", on_click=_dismiss, args=(workspace,))


def _dismiss(workspace: Workspace) -> None:
    workspace.problem, workspace.notice = None, ""


def draw_inline(error: Exception) -> None:
    """Say where a picture would be why there is none."""
    title, text = describe_error(error)
    st.html(f'<div class="box inline" role="alert"><b>{escape_html(title)}</b><span>{escape_html(text)}</span></div>')


def _draw_not_saved() -> None:
    """Say what stands where a saved run has nothing to show."""
    text = (
        "The saved run does not hold this. Press Run to load its model."
        if libraries().are_loaded()
        else "This comes in a moment, when the model is loaded."
    )
    st.html(f'<div class="hint" role="status">{text}</div>')


@contextmanager
def guard() -> Iterator[None]:
    """Whatever goes wrong inside becomes a few words on the page; the rest of the page survives. What takes long inside
    shows its progress at its head, over what was there before.
    """
    try:
        with jobs.showing_progress_in(st.empty()):
            yield
    except errors.Superseded:
        pass
    except errors.NotSavedError:
        _draw_not_saved()
    except errors.IntravistoError as error:
        draw_inline(error)
    except Exception as error:
        log.exception("a page met an unexpected error")
        draw_inline(error)
