"""Python's garbage collector beside large libraries.

Streamlit collects garbage after every rerun, and each collection walks all objects that are alive. PyTorch and
transformers bring a million that never die: measured, 0.3 to 1 s a rerun. So they are put aside once they are loaded.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def put_aside() -> Iterator[None]:
    """What is imported within is left out of all later collections; importing is faster too without any."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        # not collected first: that takes a third of a second, and what importing leaves behind is 2 MB
        gc.freeze()


def freeze() -> None:
    """Put aside all that is there now."""
    gc.freeze()


def put_aside_late() -> None:
    """The same for what was imported already, unless that was done before."""
    if not gc.get_freeze_count():
        gc.freeze()
