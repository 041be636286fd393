"""Writing a record to a file: page, table, data, picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intravisto_core.errors import IntravistoError, MissingProgramError, RequestError, expected
from intravisto_core.figures.text import printable
from intravisto_core.files import write_file
from intravisto_core.options import refuse_unknown
from intravisto_core.records import Record

if TYPE_CHECKING:
    import pandas as pd

PICTURES = ("png", "svg", "pdf")
KINDS = ("html", "csv", "json", *PICTURES)
PNG_SCALE = 2


def render(record: Record, kind: str, **options: Any) -> bytes:
    """The record as the content of a file. kind: one of `KINDS`; options go to `html` or `figure`.

    Raises:
        RequestError: another kind, or an option that there is not.
        MissingProgramError: a picture is asked for, and there is no Chromium to draw it.
    """
    if kind not in KINDS:
        raise RequestError(expected("kind of file", KINDS, kind))
    if kind in PICTURES:
        return render_picture(record, kind, **options)
    if kind == "html":
        return _encode(record.html(**options))
    refuse_unknown(f"a .{kind} file", (), options)
    if kind == "json":
        return _encode(to_json(record))
    return _name_model(record).to_csv(index=False, lineterminator="\n").encode("utf-8-sig")


def _name_model(record: Record) -> pd.DataFrame:
    """The table of a record for a file, which says on each line whose numbers they are."""
    table = record.frame()
    if named := getattr(record, "model_name", ""):  # of a record whose `model` are numbers
        return table.assign(model_name=named)
    model = getattr(record, "model", "")
    return table.assign(model=model) if model and "model" not in table else table


def kind_of(path: str | Path) -> str:
    """The kind of file that a path's suffix names.

    Raises:
        RequestError: it is none of `KINDS`.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in KINDS:
        suffixes = ", ".join(f".{kind}" for kind in KINDS)
        raise RequestError(expected("file name", f"a suffix of {suffixes}", Path(path).name))
    return kind


def save(record: Record, path: str | Path, **options: Any) -> Path:
    """Write the record in the format of the path's suffix; options as of `render`.

    Raises:
        RequestError: another suffix, or an option that there is not; or the folder cannot be written to.
        MissingProgramError: a picture is asked for, and there is no Chromium to draw it.
    """
    return write_file(path, render(record, kind_of(path), **options))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def to_json(record: Record) -> str:
    """Every field of the record; arrays as nested lists, what is no number as null."""
    return json.dumps({"kind": type(record).__name__, **to_json_types(record)}, ensure_ascii=False, allow_nan=False)


def to_json_types(value: Any) -> Any:
    """The value in JSON's own types: NaN and infinities become None, texts printable."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray):
        return _list_numbers(value)
    if isinstance(value, np.generic):
        return to_json_types(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return printable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json_types(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json_types(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_types(v) for v in value]
    return value


def _list_numbers(array: np.ndarray) -> Any:
    if array.dtype.kind != "f":
        return to_json_types(array.tolist())
    # nine digits bring any float32 back exactly; its double would be written with seventeen
    digits = 9 if array.dtype.itemsize <= 4 else 17
    flat = [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in array.ravel().tolist()]
    listed = np.empty(array.size, dtype=object)
    listed[:] = flat
    return listed.reshape(array.shape).tolist()


def render_picture(record: Record, kind: str, **options: Any) -> bytes:
    """The record's Plotly figure as "png", "svg" or "pdf", drawn by kaleido in Chromium, without network.

    Raises:
        MissingProgramError: kaleido or Chromium is missing.
    """
    try:
        import kaleido
        from kaleido.errors import ChromeNotFoundError
    except ImportError:
        raise _missing_program(kind, "the Python package kaleido", "pip install kaleido") from None
    figure = record.figure(**options)
    opts = {"format": kind, "width": figure.layout.width, "height": figure.layout.height}
    opts["scale"] = PNG_SCALE if kind == "png" else 1
    try:
        made = kaleido.calc_fig_sync(figure.to_dict(), opts=opts, kopts={"mathjax": False})
    except ChromeNotFoundError:
        raise _missing_program(kind, "the program Chromium", "apt-get install chromium") from None
    return bytes(made)


def _missing_program(kind: str, what: str, how: str) -> IntravistoError:
    return MissingProgramError(
        f".{kind}: expected {what}, which draws it; it was not found. Install it ({how}), or save as .html, "
        "which needs nothing and has its own SVG and PNG buttons"
    )
