"""What every record can do: be seen, tabled and saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intravisto_core.errors import TraceError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Array = np.ndarray


@dataclass(frozen=True)
class Drawer:
    """How a kind of record is drawn; `figures` registers one for each."""

    figure: Callable[..., go.Figure]
    html: Callable[..., str]
    frame: Callable[[Any], pd.DataFrame]
    save: Callable[..., Path]


_DRAWERS: dict[type, Drawer] = {}


def register_drawer(record: type, drawer: Drawer) -> None:
    """Tell how records of that type are drawn."""
    _DRAWERS[record] = drawer


class Record:
    """Base of the records: every one can be seen, tabled and saved."""

    def _drawer(self) -> Drawer:
        try:
            return _DRAWERS[type(self)]
        except KeyError:
            raise TraceError(
                f"{type(self).__name__} has no drawer here: expected `import intravisto_core`, which brings them"
            ) from None

    def figure(self, **options: Any) -> go.Figure:
        """A Plotly figure: static, adaptable."""
        return self._drawer().figure(self, **options)

    def html(self, **options: Any) -> str:
        """A whole page as text, interactive, that works offline."""
        return self._drawer().html(self, **options)

    def frame(self) -> pd.DataFrame:
        """The numbers as a table, one row a cell."""
        return self._drawer().frame(self)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the record: .html, .csv, .json, or .png, .svg, .pdf (these need Chromium)."""
        return self._drawer().save(self, path, **options)

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
