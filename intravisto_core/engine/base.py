"""What every engine offers: submit a request, get a job; jobs are polled, waited for, or cancelled."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_core.records import ModelCard, Token
from intravisto_core.request import ModelSpec, Request, Turn, ViewRequest
from intravisto_core.sites import JobState


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `done` of `total` steps, and what the last one was."""

    done: int = 0
    total: int = 0
    text: str = ""


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


class Engine(Protocol):
    """One model that answers requests; nothing else crosses this boundary."""

    @property
    def model(self) -> ModelCard:
        """The loaded model and its checked capabilities."""
        ...

    def tokenize(
        self, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
    ) -> tuple[Token, ...]:
        """The tokens that a prompt would have, without running anything."""
        ...

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """Queue a request. A newer view with the same non-empty slot takes an older one's place."""
        ...

    def view(self, view: ViewRequest, *, session: str = "", slot: str = "") -> Any:
        """Submit and wait."""
        ...

    def find(self, trace: str, session: str = "") -> Any:
        """The handle of a trace that this session made."""
        ...

    def forget(self, trace: str) -> None:
        """Drop a trace; an edit lets go of its baseline and sources."""
        ...

    def pin(self, trace: str) -> None:
        """Keep a trace's activations whatever the byte budget."""
        ...

    def unpin(self, trace: str) -> None:
        """Take one pin back."""
        ...

    def close(self) -> None:
        """Stop working and let go of the model."""
        ...
