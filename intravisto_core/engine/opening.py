"""One model on its way into memory, and everybody who waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from intravisto_core.engine.job import Job
from intravisto_core.engine.local import LocalEngine
from intravisto_core.errors import Cancelled, IntravistoError, ModelError
from intravisto_core.models.free_memory import forget
from intravisto_core.progress import Progress, Report
from intravisto_core.request import ModelSpec
from intravisto_core.sites import JobState


class Opening:
    """A load that several sessions share: each has a job of its own, and it stops when all of them were cancelled.

    load: opens the model, telling a `Report`. ended: called once with the engine or the error, before any job ends.
    """

    def __init__(
        self,
        spec: ModelSpec,
        load: Callable[[Report], LocalEngine],
        ended: Callable[[LocalEngine | None], None],
    ) -> None:
        self.spec = spec
        self._load, self._after = load, ended
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._progress = Progress(text="waiting to be opened")
        self._engine: LocalEngine | None = None
        self._error: IntravistoError | None = None
        self._over = False
        self._thread = threading.Thread(target=self._work, name="intravisto-opening", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def job(self, session: str) -> Job:
        """A job whose result is the engine."""
        job = Job(self.spec, session)
        job.on_cancel = lambda: self._leave(job)
        with self._lock:
            if not self._over:
                job.state, job.progress = JobState.RUNNING, self._progress
                self._jobs.append(job)
                return job
        self._end(job)
        return job

    @property
    def over(self) -> bool:
        """Whether loading has ended, well or badly."""
        return self._over

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return not self._jobs

    def _leave(self, job: Job) -> None:
        with self._lock:
            if job not in self._jobs:
                return
            self._jobs.remove(job)
        job.end(JobState.CANCELLED)

    def _report(self, done: int, total: int, text: str) -> None:
        with self._lock:
            self._progress = Progress(done, total, text)
            for job in self._jobs:
                job.progress = self._progress
            if not self._jobs:
                raise Cancelled("cancelled while the model was being opened")

    def _work(self) -> None:
        try:
            self._engine = self._load(self._report)
        except IntravistoError as error:
            self._error = error
        except Exception as error:
            self._error = ModelError(
                f"{self.spec.source}: something unexpected failed while it was opened: {type(error).__name__}: {error}"
            )
            self._error.__cause__ = error
        if self._error is not None:
            forget(self._error)
        self._after(self._engine)
        with self._lock:
            self._over = True
            waiting, self._jobs = self._jobs, []
        for job in waiting:
            self._end(job)

    def _end(self, job: Job) -> None:
        if self._engine is not None:
            job.end(JobState.DONE, self._engine)
        else:
            state = JobState.CANCELLED if isinstance(self._error, Cancelled) else JobState.FAILED
            job.end(state, error=self._error)
