"""How far opening a model is, in one line of a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from intravisto_core.progress import Report, quiet
from intravisto_core.records.memory import size

EVERY_S = 0.1
_BEGINNING_OF_LINE, _CLEAR = "\r", "\x1b[K"


class OpeningLine:
    """Writes what is being done over what was done before; `end` takes the line away."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._drawn = out, 0.0
        self._text = ""

    def report(self, done: int, total: int, text: str) -> None:
        """As `Report`."""
        now = time.monotonic()
        if text == self._text and done < total and now - self._drawn < EVERY_S:
            return
        self._text, self._drawn = text, now
        far = f" · {size(done)} of {size(total)} ({100 * done // total} %)" if total else " …"
        self._out.write(f"{_BEGINNING_OF_LINE}{text}{far}{_CLEAR}")
        self._out.flush()

    def end(self) -> None:
        """Before anything else is written."""
        if self._text:
            self._out.write(f"{_BEGINNING_OF_LINE}{_CLEAR}")
            self._out.flush()


@contextmanager
def report_opening() -> Iterator[Report]:
    """A report that draws the line on standard error, where a person looks on; gone at the end."""
    if not sys.stderr.isatty():
        yield quiet
        return
    line = OpeningLine(sys.stderr)
    try:
        yield line.report
    finally:
        line.end()
