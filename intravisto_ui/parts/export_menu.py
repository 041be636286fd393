"""The export menu of a page: files of its record, and the Python that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from enum import Enum, StrEnum
from functools import cache, partial
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.records import Record
from intravisto_core.request import Span, View
from intravisto_ui.parts import components, python_lines
from intravisto_ui.session.shown import Shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
RecordKind = TypeVar("RecordKind", bound=Record)
PageOptions = Callable[[], Mapping[str, Any]]
"""How the page of a record is drawn, as the arguments of its `html`; asked for when the file is."""


class FileKind(StrEnum):
    """The files that a record can be saved as. A picture needs Chromium where the browser does not draw it."""

    PNG = "png"
    SVG = "svg"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


PICTURES = (FileKind.PNG, FileKind.SVG)
MIME = {
    FileKind.PNG: "image/png",
    FileKind.SVG: "image/svg+xml",
    FileKind.HTML: "text/html",
    FileKind.CSV: "text/csv",
    FileKind.JSON: "application/json",
}
HELP = {
    FileKind.PNG: "A picture as pixels",
    FileKind.SVG: "A picture as shapes, to edit and print",
    FileKind.HTML: "One page that works without network",
    FileKind.CSV: "A table of the numbers",
    FileKind.JSON: "All numbers, with what was asked for",
}
WHOLE = "A file always holds the whole of what was chosen; where something is still computed, it waits for it."
NO_CHROMIUM = "This picture is drawn on the server, by Chromium through kaleido: one of the two was not found there."


def draw_menu(
    container: DeltaGenerator,
    shown: Shown,
    session: str,
    view: View[RecordKind],
    name: str,
    lines: Sequence[str],
    options: PageOptions = dict,
    hint: str = "",
    in_browser: bool = False,
    more: Callable[[], None] | None = None,
    record: RecordKind | None = None,
) -> None:
    """Files of the record that a view asks for, and Python. name: of the files. lines: of Python. more: draws what else
    can be taken away. record: the record itself, where it is at hand.

    in_browser: whether the page's large picture saves itself as PNG and SVG; else they are the record's static figure.
    """
    with container.popover("Export"):
        st.html('<div class="cap">This picture</div>')
        line = st.container(horizontal=True, gap="small")
        if in_browser:
            with line:
                components.draw_saver(f"export_{name}_saver")
        for kind in FileKind:
            if kind in PICTURES and in_browser:
                continue
            missing = kind in PICTURES and not has_chromium()
            line.download_button(
                kind.upper(),
                data=partial(render_file, shown, session, view, kind, options, record),
                file_name=f"{name}.{kind}",
                mime=MIME[kind],
                help=NO_CHROMIUM if missing else HELP[kind],
                disabled=missing,
                on_click="ignore",
                key=f"export_{name}_{kind}",
            )
        st.html(f'<div class="hint">{hint} {WHOLE}</div>')
        if more is not None:
            more()
        st.html('<div class="cap">The same in Python</div>')
        st.code("\n".join(lines), language="python", wrap_lines=True)


def render_file(
    shown: Shown,
    session: str,
    view: View[RecordKind],
    kind: FileKind,
    options: PageOptions = dict,
    record: RecordKind | None = None,
) -> bytes:
    """The record of a view as a file; a page is drawn with `options`.

    Raises:
        IntravistoError: why there is no record.
    """
    found = shown.engine.view(view, session=session) if record is None else record
    return found.render(kind, **(options() if kind is FileKind.HTML else {}))


@cache
def has_chromium() -> bool:
    """Whether this server can draw pictures by itself."""
    return find_spec("kaleido") is not None and any(map(which, CHROMIUM))


def changed_fields(value: DataclassInstance, plain: DataclassInstance) -> dict[str, Any]:
    """The fields of a dataclass that differ from those of a plain one."""
    return {name: given for name, given in asdict(value).items() if given != getattr(plain, name)}


def write_arguments(view: DataclassInstance, *given: str) -> str:
    """A view's fields that are not at their defaults, as arguments of the trace's method, less those `given`."""
    arguments = []
    for field in fields(view):
        value = getattr(view, field.name)
        if field.name in ("trace", *given) or value == field.default:
            continue
        if isinstance(value, Span):
            text = python_lines.write_selection(value)
        else:
            text = repr(str(value)) if isinstance(value, Enum) else repr(value)
        arguments.append(f"{field.name}={text}")
    return ", ".join(arguments)
