"""Python's garbage collector beside large libraries.

A collection walks all objects that are alive, and no other thread runs meanwhile. PyTorch and transformers bring a
million that never die: they are put aside once they are loaded. Streamlit would collect after every rerun, several
times a second while a page waits for a model; measured, its loading took five times as long. So
`.streamlit/config.toml` turns that off, and the app collects now and then, when nothing runs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

REST_S = 30.0
_earlier = time.monotonic()


def collect_now_and_then() -> None:
    """Collect garbage, unless that was done a short while ago."""
    global _earlier
    now = time.monotonic()
    if now - _earlier >= REST_S:
        _earlier = now
        gc.collect()


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
