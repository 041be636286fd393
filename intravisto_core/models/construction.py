"""Models are constructed one at a time, and while nobody computes.

While transformers constructs a model, it changes what belongs to the whole process: torch's default dtype, and the
methods that tie and fill weights. Two constructions at once can leave these changed for good, and a run beside one
would make tensors of another dtype.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from intravisto_core.progress import Report

LOOK_S = 0.2
_one_load = threading.Lock()
_change = threading.Condition()
_computing, _constructing = 0, False
_here = threading.local()


@contextmanager
def computing() -> Iterator[None]:
    """Within this context no model is being constructed; a thread may enter it more than once."""
    global _computing
    if getattr(_here, "computes", False):
        # to wait here for one who waits for this thread would never end
        yield
        return
    with _change:
        _change.wait_for(lambda: not _constructing)
        _computing += 1
    _here.computes = True
    try:
        yield
    finally:
        _here.computes = False
        with _change:
            _computing -= 1
            _change.notify_all()


@contextmanager
def loading(report: Report) -> Iterator[None]:
    """Within this context no other model is loaded and, until `constructed`, nobody is `computing`.

    report: is told that it waits; what it raises ends the wait.
    """
    while not _one_load.acquire(timeout=LOOK_S):
        report(0, 0, "waiting until another model is read")
    try:
        _construct(report)
        try:
            yield
        finally:
            constructed()
    finally:
        _one_load.release()


def constructed() -> None:
    """The model is there, without its weights; called by the thread that is loading it, once or more often."""
    global _constructing
    if getattr(_here, "constructs", False):
        _here.constructs = False
        with _change:
            _constructing = False
            _change.notify_all()


def _construct(report: Report) -> None:
    global _constructing
    with _change:
        # whoever wants to compute waits from now on
        _constructing = _here.constructs = True
        try:
            while not _change.wait_for(lambda: not _computing, LOOK_S):
                report(0, 0, "waiting until a run beside this one lets go")
        except BaseException:
            _constructing = _here.constructs = False
            _change.notify_all()
            raise
