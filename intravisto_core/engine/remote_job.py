"""A job of a service, followed from here: whatever breaks on the way is taken up again."""

from __future__ import annotations

import threading
import uuid
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from intravisto_core.engine.answers import Reply, read_answer, read_error
from intravisto_core.engine.connection import JOBS, Connection, JobLost
from intravisto_core.engine.job import Job
from intravisto_core.errors import Cancelled, IntravistoError, LostTraceError, ServiceError, describe_error
from intravisto_core.progress import Progress
from intravisto_core.sites import JobState

ENDS = tuple(state.value for state in JobState if state.ended)
MOST_TIMES = 50
SOON_S = 0.3


class Follower:
    """Begins a job at a service, hears of it in a thread, and ends it here with what came.

    ask: gives the question as bytes; with what is known of lost traces where it is told so. received: makes of an
    answer what the job's user gets.
    """

    def __init__(
        self,
        connection: Connection,
        job: Job,
        ask: Callable[[bool], bytes],
        received: Callable[[Reply], Any],
    ) -> None:
        self._connection, self._job, self._ask, self._received = connection, job, ask, received
        self._place = ""
        self._pose(with_recipes=False)
        job.on_cancel = self._cancel

    def start(self) -> None:
        """Send the question, and follow it from then on.

        Raises:
            IntravistoError: the service refuses it.
        """
        self._begin()
        threading.Thread(target=self._work, name="intravisto-remote", daemon=True).start()

    def _pose(self, with_recipes: bool) -> None:
        """Write the question. It keeps its key however often it is sent, so that it runs once."""
        self._with_recipes, self._question, self._key = with_recipes, self._ask(with_recipes), uuid.uuid4().hex

    def _begin(self) -> None:
        told = self._connection.ask("POST", JOBS, self._question, self._key)
        self._place = f"{JOBS}/{told['id']}"

    def _work(self) -> None:
        try:
            self._follow()
        except IntravistoError as error:
            state = JobState.CANCELLED if isinstance(error, Cancelled) else JobState.FAILED
            self._job.end(state, error=error)
        except Exception as error:
            self._job.end(JobState.FAILED, error=ServiceError(f"service: {describe_error(error)}"))

    def _follow(self) -> None:
        for _ in range(MOST_TIMES):
            try:
                if self._fetch_soon():
                    return
                state, body = self._wait()
                error = read_error(body["error"]) if "error" in body else None
                if isinstance(error, LostTraceError) and not self._with_recipes:
                    # the machine that held the trace is gone; what it was made of is known here
                    self._pose(with_recipes=True)
                    self._begin()
                    continue
                self._end(state, error)
                return
            except JobLost:
                if self._job.cancelled:
                    raise Cancelled("cancelled before there was anything to show") from None
                self._begin()
        raise ServiceError(f"{self._connection.url}: expected an answer; the service lost the question again and again")

    def _fetch_soon(self) -> bool:
        """The answer of a short job, with one question; False where it takes longer, or ends otherwise."""
        try:
            headers: dict[str, str] = {}
            data = self._connection.fetch("GET", f"{self._place}/result?wait={SOON_S}", told=headers)
        except JobLost:
            raise
        except IntravistoError:
            # how it ended is told by its events
            return False
        if headers.get("X-Job-State") != JobState.DONE.value:
            return False
        self._job.end(JobState.DONE, self._received(read_answer(data)))
        return True

    def _wait(self) -> tuple[JobState, dict[str, Any]]:
        """How the job ended, and what was said of it. Patience begins anew whenever something new was heard."""
        last, tries = 0, self._connection.tries()
        while next(tries, None) is not None:
            before = last
            for number, name, body in self._connection.stream(f"{self._place}/events", last):
                last = max(last, number)
                if name in ENDS:
                    return JobState(name), body
                self._tell(name, body)
            if last > before:
                told = self._connection.ask("GET", self._place)
                if told.get("state") in ENDS:
                    return JobState(told["state"]), told
                tries = self._connection.tries()
        raise self._connection.unreachable()

    def _tell(self, name: str, body: dict[str, Any]) -> None:
        self._job.state = JobState.QUEUED if name == JobState.QUEUED.value else JobState.RUNNING
        self._job.place = int(body.get("place", 0))
        partial = self._job.progress.partial
        if "partial" in body:
            partial = read_answer(b64decode(body["partial"])).value
        self._job.progress = Progress(
            int(body["done"]), int(body["total"]), str(body["text"]), partial, bool(body.get("elsewhere"))
        )

    def _end(self, state: JobState, error: IntravistoError | None) -> None:
        if error is not None:
            self._job.end(state, error=error)
            return
        reply = read_answer(self._connection.fetch("GET", f"{self._place}/result"))
        self._job.end(state, self._received(reply))

    def _cancel(self) -> None:
        if self._place:
            # in a thread: who cancels may hold a page
            threading.Thread(target=self._ask_to_stop, name="intravisto-cancel", daemon=True).start()

    def _ask_to_stop(self) -> None:
        with suppress(IntravistoError):
            self._connection.ask("DELETE", self._place)
