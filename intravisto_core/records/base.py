"""What every record can do: be seen, tabled and saved."""

from __future__ import annotations

from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intravisto_core.errors import TraceError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Array = np.ndarray
# characters between the brackets of a `repr`
LONGEST = 150


def find_figures(module: str) -> Any:
    """A module of what draws and writes records. It stands above them, so it is found by name when it is needed."""
    return import_module(f"intravisto_core.figures.{module}")


class Summarised:
    """Base of what is shown in one line, whatever it holds: records, and their parts."""

    __slots__ = ()

    def _summary(self) -> tuple[str, ...]:
        """What tells it from others of its kind: sizes and names, empty where there is nothing to say."""
        return ()

    def __repr__(self) -> str:
        words = " ".join(", ".join(filter(None, self._summary())).split())
        shown = "".join(c if c.isprintable() else "\ufffd" for c in words)
        return f"{type(self).__name__}({shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + '…'})"


class Record(Summarised):
    """Base of the records: every one can be seen, tabled and saved."""

    def figure(self, **options: Any) -> go.Figure:
        """A Plotly figure: static, adaptable.

        Raises:
            RequestError: an option that this figure does not have.
        """
        return find_figures("drawings").draw(self, "figure", **options)

    def html(self, **options: Any) -> str:
        """A whole page as text, interactive, that works offline.

        Raises:
            RequestError: an option that this page does not have.
        """
        return str(find_figures("drawings").draw(self, "page", **options))

    def frame(self) -> pd.DataFrame:
        """The numbers as a table, one row a cell."""
        return find_figures("drawings").draw(self, "frame")

    def render(self, kind: str, **options: Any) -> bytes:
        """The record as a file's content. kind: "html", "csv", "json", or "png", "svg", "pdf" (these need Chromium).

        options: of `html` for "html", of `figure` for a picture; "csv" and "json" have none.

        Raises:
            RequestError: another kind, or an option that there is not.
            MissingProgramError: a picture is asked for, and there is no Chromium to draw it.
        """
        return bytes(find_figures("export").render(self, kind, **options))

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write `render` of the path's suffix to that path, and give the path.

        Raises:
            RequestError: as `render`; or the folder cannot be written to.
            MissingProgramError: as `render`.
        """
        return Path(find_figures("export").save(self, path, **options))

    def _repr_html_(self) -> str:
        page = escape(self.html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:560px;border:0"></iframe>'


def check_shapes(record: Record, **arrays: tuple[Array | None, tuple[int, ...]]) -> None:
    """Refuse an impossible record.

    Raises:
        TraceError: an array has another shape than expected.
    """
    for name, (array, shape) in arrays.items():
        if array is not None and array.shape != shape:
            raise TraceError(f"{type(record).__name__}.{name}: expected shape {shape}; got {array.shape}")
