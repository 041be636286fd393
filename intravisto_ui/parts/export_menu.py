"""The export menu of a page: files of its record, and the Python that makes it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from enum import Enum
from pathlib import Path
from typing import Any

import streamlit as st

from intravisto_core.records import Record
from intravisto_core.request import Span
from intravisto_ui.parts import edit_python, python_lines
from intravisto_ui.session.workspace import Shown, Workspace

FORMATS = (
    ("html", "text/html", "One page that works without network"),
    ("csv", "text/csv", "A table of the numbers"),
    ("json", "application/json", "All numbers, with what was asked for"),
)


def menu(
    place: Any,
    here: Workspace,
    view: Any,
    name: str,
    options: Callable[[], dict[str, Any]],
    lines: list[str],
    hint: str = "",
    before: list[str] | None = None,
) -> None:
    """Files of the record that a view asks for, and Python. options: how its page is drawn.

    before: what comes before `lines`; None: the lines that make `trace` the run that is shown.
    """
    shown = here.shown
    assert shown is not None
    with place.popover("Export"):
        st.html('<div class="cap">This picture</div>')
        line = st.container(horizontal=True, gap="small")
        for suffix, mime, why in FORMATS:
            line.download_button(
                suffix.upper(),
                data=_file(shown, here.id, view, f"{name}.{suffix}", options if suffix == "html" else dict),
                file_name=f"{name}.{suffix}",
                mime=mime,
                help=why,
                on_click="ignore",
                key=f"export_{name}_{suffix}",
            )
        if hint:
            st.html(f'<div class="hint">{hint}</div>')
        st.html('<div class="cap">The same in Python</div>')
        st.code(
            "\n".join([*(edit_python.shown_lines(here) if before is None else before), *lines]),
            language="python",
            wrap_lines=True,
        )


def _file(
    shown: Shown, session: str, view: Any, name: str, options: Callable[[], dict[str, Any]]
) -> Callable[[], bytes]:
    def make() -> bytes:
        record: Record = shown.engine.view(view, session=session, slot="")
        with tempfile.TemporaryDirectory() as folder:
            return record.save(Path(folder) / name, **options()).read_bytes()

    return make


def changed(value: Any, plain: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from those of a plain one."""
    return {n: v for n, v in asdict(value).items() if v != getattr(plain, n)}


def arguments(view: Any, *given: str) -> str:
    """A view's fields that are not at their defaults, as arguments of the trace's method, less those `given`."""
    told = []
    for field in fields(view):
        value = getattr(view, field.name)
        if field.name in ("trace", *given) or value == field.default:
            continue
        if isinstance(value, Span):
            text = python_lines.selection(value)
        else:
            text = repr(str(value)) if isinstance(value, Enum) else repr(value)
        told.append(f"{field.name}={text}")
    return ", ".join(told)
