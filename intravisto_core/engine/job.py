"""A request on its way: jobs are polled, waited for, or cancelled."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_core.progress import Progress
from intravisto_core.request import ModelSpec, Request
from intravisto_core.sites import JobState


def _nothing() -> None:
    return None


class Job:
    """One request, or a model being opened, on its way. Safe to read from any thread."""

    def __init__(self, request: Request | ModelSpec, session: str = "") -> None:
        self.id = uuid.uuid4().hex
        self.request = request
        self.session = session
        self.state = JobState.QUEUED
        self.progress = Progress()
        self.place = 0
        self.error: IntravistoError | None = None
        self.seconds = 0.0
        self.cancelled = False
        self.on_cancel: Callable[[], None] = _nothing
        self._result: Any = None
        self._ended = threading.Event()

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
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the job has not ended within {timeout} s; it goes on")
        if self.error is not None:
            raise self.error
        return self._result

    def end(self, state: JobState, result: Any = None, error: IntravistoError | None = None) -> None:
        """Called once, by whoever runs the job."""
        self._result, self.error, self.state = result, error, state
        if state is JobState.CANCELLED and error is None and result is None:
            self.error = Cancelled("cancelled before there was anything to show")
        self._ended.set()
