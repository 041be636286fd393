"""The export menu of a page: files of its record, and the Python that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from enum import Enum, StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.records import Record
from intravisto_core.request import Span, View
from intravisto_ui.parts import python_lines
from intravisto_ui.session.workspace import Shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RecordKind = TypeVar("RecordKind", bound=Record)
PageOptions = Callable[[], Mapping[str, Any]]
"""How the page of a record is drawn, as the arguments of its `html`; asked for when the file is."""


class FileKind(StrEnum):
    """The files that a record can be saved as without another program."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"


MIME = {FileKind.HTML: "text/html", FileKind.CSV: "text/csv", FileKind.JSON: "application/json"}
HELP = {
    FileKind.HTML: "One page that works without network",
    FileKind.CSV: "A table of the numbers",
    FileKind.JSON: "All numbers, with what was asked for",
}
PICTURE_HINT = "PNG and SVG: the buttons under the picture."


def draw_menu(
    container: DeltaGenerator,
    shown: Shown,
    session: str,
    view: View[RecordKind],
    name: str,
    lines: Sequence[str],
    options: PageOptions = dict,
    hint: str = "",
) -> None:
    """Files of the record that a view asks for, and Python. name: of the files. lines: of Python."""
    with container.popover("Export"):
        st.html('<div class="cap">This picture</div>')
        line = st.container(horizontal=True, gap="small")
        for kind in FileKind:
            line.download_button(
                kind.upper(),
                data=partial(render_file, shown, session, view, kind, options),
                file_name=f"{name}.{kind}",
                mime=MIME[kind],
                help=HELP[kind],
                on_click="ignore",
                key=f"export_{name}_{kind}",
            )
        if hint:
            st.html(f'<div class="hint">{hint}</div>')
        st.html('<div class="cap">The same in Python</div>')
        st.code("\n".join(lines), language="python", wrap_lines=True)


def render_file(
    shown: Shown, session: str, view: View[RecordKind], kind: FileKind, options: PageOptions = dict
) -> bytes:
    """The record of a view as a file; a page is drawn with `options`.

    Raises:
        IntravistoError: why there is no record.
    """
    record = shown.engine.view(view, session=session)
    return record.render(kind, **(options() if kind is FileKind.HTML else {}))


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
