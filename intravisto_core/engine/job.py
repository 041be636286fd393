"""A request on its way: jobs are polled, waited for, or cancelled."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from intravisto_core.errors import Cancelled, IntravistoError, TraceError
from intravisto_core.progress import Progress
from intravisto_core.request import ModelSpec, Request
from intravisto_core.sites import JobState


def _nothing() -> None:
    return None


class Job:
    """One request, or a model being opened, on its way. Safe to read from any thread.

    seconds: from its first turn to its end. spent: of these, in its own turns.
    """

    def __init__(self, request: Request | ModelSpec, session: str = "") -> None:
        self.id = uuid.uuid4().hex
        self.request = request
        self.session = session
        self.state = JobState.QUEUED
        self.progress = Progress()
        self.place = 0
        self.error: IntravistoError | None = None
        self.seconds = self.spent = 0.0
        self.cancelled = False
        self.on_cancel: Callable[[], None] = _nothing
        self._on_end: list[Callable[[], None]] = []
        self._result: Any = None
        self._ended = threading.Event()
        self._process = os.getpid()

    def cancel(self) -> None:
        """Ask the job to stop; it ends at the next layer or turn."""
        self.cancelled = True
        self.on_cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the record or trace.

        Raises:
            TimeoutError: not ended within `timeout` seconds; the job goes on.
            IntravistoError: why there is no result.
        """
        if self._process != os.getpid() and not self.state.ended:
            raise TraceError(
                f"job: expected the process that submitted it ({self._process}); this one ({os.getpid()}) was forked "
                "from it, and will not hear of its end. Open the model in each process"
            )
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the job has not ended within {timeout} s; it goes on")
        if self.error is not None:
            raise self.error
        return self._result

    def when_ended(self, tell: Callable[[], None]) -> None:
        """Call a function once the job has ended, from whatever thread; at once where it has ended already."""
        self._on_end.append(tell)
        if self._ended.is_set():
            with suppress(ValueError):  # the thread that ended it was quicker
                self._on_end.remove(tell)
                tell()

    def end(self, state: JobState, result: Any = None, error: IntravistoError | None = None) -> None:
        """Called once, by whoever runs the job."""
        self._result, self.error, self.state = result, error, state
        if state is JobState.CANCELLED and error is None and result is None:
            self.error = Cancelled("cancelled before there was anything to show")
        self._ended.set()
        while self._on_end:
            self._on_end.pop()()
