"""The error box: what happened, why, what to do. A page never shows a stack trace, and keeps its last picture."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import streamlit as st

from intravisto_core import errors
from intravisto_ui.session import workspace
from intravisto_ui.session.text import escaped, linked

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


def words(error: Exception) -> tuple[str, str]:
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


def box() -> None:
    """Draw the workspace's problem or notice, if there is one, with a button that puts it away."""
    here = workspace.current()
    if here.problem is None and not here.notice:
        return
    title, text = words(here.problem) if here.problem is not None else ("", here.notice)
    kind = "problem" if here.problem is not None else "notice"
    with st.container(horizontal=True, vertical_alignment="center", key=kind):
        head = f"<b>{escaped(title)}</b>" if title else ""
        st.html(f'<div class="box" role="alert">{head}<span>{linked(text)}</span></div>', width="stretch")
        st.button("Dismiss", key="dismiss", on_click=_dismiss)


def _dismiss() -> None:
    here = workspace.current()
    here.problem, here.notice = None, ""


def inline(error: Exception) -> None:
    """Say where a picture would be why there is none."""
    title, text = words(error)
    st.html(f'<div class="box inline" role="alert"><b>{escaped(title)}</b><span>{escaped(text)}</span></div>')


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever goes wrong inside becomes a few words on the page; the rest of the page survives."""
    try:
        yield
    except errors.Superseded:
        pass
    except errors.IntravistoError as error:
        inline(error)
    except Exception as error:
        log.exception("a page met an unexpected error")
        inline(error)
