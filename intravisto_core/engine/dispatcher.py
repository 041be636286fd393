"""The one thread that makes all torch calls of a model; work is done in turns, a view before a trace."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import torch

from intravisto_core.engine.job import Job
from intravisto_core.engine.limits import Limits
from intravisto_core.errors import (
    Cancelled,
    IntravistoError,
    MemoryShortError,
    RequestError,
    Superseded,
    TraceError,
    describe_error,
)
from intravisto_core.models.construction import computing
from intravisto_core.models.free_memory import forget, give_back, is_short
from intravisto_core.models.threads import using_threads
from intravisto_core.progress import Progress
from intravisto_core.sites import JobState

Work = Generator[Progress, None, Any]

_log = logging.getLogger(__name__)

MORE_ROOM = (
    "expected enough memory for this; it ran out, and everything that it took was given back. Shorten the prompt, "
    "capture fewer sites, or open the model in bfloat16 or 4 bit"
)


NO_LIMITS = Limits()
EXIT_S = 10.0


class Priority(IntEnum):
    """Whose turn comes first."""

    VIEW = 0
    TRACE = 1
    CHECK = 2


@dataclass(slots=True)
class _Task:
    job: Job
    work: Work
    priority: Priority
    slot: str
    number: int
    on_cancel: Callable[[], None]
    last_turn: int = field(default=-1)
    started: float = field(default=0.0)
    spent: float = field(default=0.0)


class Dispatcher:
    """Runs generators in turns on one thread; each `next` is a turn.

    threads: of the processor, for every torch call. limits: on the queue and on the time of one job. Among the jobs of
    the best priority the session that waited longest is served, and of its jobs the oldest. One that waits for
    something outside this process comes no sooner than a trace, and after the others of its session; several of them
    are looked after by turns.
    """

    def __init__(self, name: str, threads: int, limits: Limits = NO_LIMITS) -> None:
        self._threads = threads
        self._limits = limits
        self._tasks: list[_Task] = []
        self._wake = threading.Condition()
        self._numbers = itertools.count()
        self._served: dict[str, int] = {}
        self._closed = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._loop, name=f"intravisto-{name}", daemon=True)
        self._thread.start()
        _open.add(self)

    def submit(
        self,
        job: Job,
        work: Work,
        priority: Priority,
        slot: str = "",
        on_cancel: Callable[[], None] = lambda: None,
    ) -> Job:
        """Queue work for a job. A newer one with the same session and non-empty slot takes an older one's place.

        on_cancel: called once from the cancelling thread, so that work inside a long call can stop early.

        Raises:
            TraceError: the dispatcher was closed, or is of the process that this one was forked from.
            BusyError: too much waits already.
        """
        self._check_process()
        with self._wake:
            if self._closed:
                raise TraceError("engine: expected an open one; it was closed. Open the model again")
            replaced = [t for t in self._tasks if slot and t.slot == slot and t.job.session == job.session]
            others = [t for t in self._tasks if t not in replaced]
            self._limits.check_queue(sum(task.priority <= priority for task in others))
            for task in replaced:
                task.job.error = Superseded("a newer view of the same page took this one's place")
                task.job.cancelled = True
            self._tasks.append(_Task(job, work, priority, slot, next(self._numbers), on_cancel))
            job.on_cancel = on_cancel
            self._set_places()
            self._wake.notify()
        return job

    def close(self, timeout: float | None = None) -> None:
        """Cancel everything and end the thread; wait for that, at most `timeout` seconds.

        Nothing is to be done in a fork of the process that it is of.
        """
        if self._process != os.getpid():
            return
        with self._wake:
            self._closed = True
            for task in self._tasks:
                task.job.cancel()
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _check_process(self) -> None:
        """A fork copies no threads: work that is submitted there would wait for ever, perhaps for this lock already."""
        if self._process != os.getpid():
            raise TraceError(
                f"engine: expected the process that opened it ({self._process}); this one ({os.getpid()}) was forked "
                "from it, and has no thread for the model. Open the model in each process, or start them by spawning"
            )

    @property
    def on_its_thread(self) -> bool:
        """Whether the caller is the thread that makes the torch calls, inside somebody's turn."""
        return threading.current_thread() is self._thread

    @property
    def n_waiting(self) -> int:
        """Jobs not ended yet."""
        return len(self._tasks)

    def _set_places(self) -> None:
        for task in self._tasks:
            ahead = [t for t in self._tasks if (t.priority, t.number) < (task.priority, task.number)]
            task.job.place = len(ahead)

    def _next(self) -> _Task | None:
        with self._wake:
            while not self._tasks:
                if self._closed:
                    return None
                self._wake.wait()
            task = min(
                self._tasks,
                key=lambda t: (
                    not t.job.cancelled,
                    max(t.priority, Priority.TRACE) if t.job.progress.elsewhere else t.priority,
                    self._served.get(t.job.session, -1),
                    t.job.progress.elsewhere,
                    t.last_turn if t.job.progress.elsewhere else t.number,
                ),
            )
            task.last_turn = self._served[task.job.session] = next(self._numbers)
            return task

    def _loop(self) -> None:
        with torch.no_grad(), using_threads(self._threads):
            while (task := self._next()) is not None:
                self._turn(task)
                # while there is nothing to do, what the last job held is not kept for it
                del task

    def _turn(self, task: _Task) -> None:
        job = task.job
        if job.state is JobState.QUEUED:
            job.state, task.started = JobState.RUNNING, time.perf_counter()
        try:
            if job.cancelled:
                task.work.throw(job.error or Cancelled("cancelled before there was anything to show"))
            else:
                self._advance(task)
        except StopIteration as end:
            self._end(task, JobState.CANCELLED if job.cancelled else JobState.DONE, result=end.value)
        except Cancelled as error:
            self._end(task, JobState.CANCELLED, error=error)
        except IntravistoError as error:
            self._end(task, JobState.FAILED, error=error)
        except BaseException as error:  # whatever it is: a thread that ended would let everyone wait for ever
            self._end(task, JobState.FAILED, error=_wrapped(error))

    def _advance(self, task: _Task) -> None:
        """One turn of the work; where it has taken too long it is told so, and may still clean up."""
        try:
            self._limits.check_seconds(task.spent)
        except RequestError as error:
            task.work.throw(error)
        began = time.perf_counter()
        try:
            with computing():
                task.job.progress = next(task.work)
        finally:
            task.spent += time.perf_counter() - began

    def _end(self, task: _Task, state: JobState, result: Any = None, error: IntravistoError | None = None) -> None:
        with self._wake:
            self._tasks.remove(task)
            if not any(t.job.session == task.job.session for t in self._tasks):
                self._served.pop(task.job.session, None)
            self._set_places()
        task.job.spent = task.spent
        task.job.seconds = time.perf_counter() - task.started if task.started else 0.0
        task.job.end(state, result, error)


_open: weakref.WeakSet[Dispatcher] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is inside torch when Python ends takes the whole process down with an error."""
    for dispatcher in list(_open):
        dispatcher.close(EXIT_S)


def _wrapped(error: BaseException) -> IntravistoError:
    if is_short(error):
        forget(error)
        give_back()
        return MemoryShortError(MORE_ROOM)
    _log.error("a job failed unexpectedly", exc_info=error)
    wrapped = TraceError(f"something unexpected failed inside the model or this program: {describe_error(error)}")
    wrapped.__cause__ = error
    return wrapped
