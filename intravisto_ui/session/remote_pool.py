"""The models of a service, where the app is told to use one (INTRAVISTO_ENGINE): opened there, only asked from here."""

from __future__ import annotations

import math
import os
import threading
import time

from intravisto_core.engine import Engine, Job
from intravisto_core.engine.connecting import TOKEN, list_models
from intravisto_core.engine.connection import Connection
from intravisto_core.engine.remote import RemoteEngine
from intravisto_core.errors import IntravistoError, ModelError, ServiceError, expected
from intravisto_core.progress import Progress
from intravisto_core.request import ModelSpec
from intravisto_core.sites import JobState

PATIENCE_S = 60.0
LISTING_S = 3.0
LISTED_S = 60.0
# a service that did not answer is not asked again for so long: who asks draws a page
SPARED_S = 5.0


class RemotePool:
    """Engines of one service by the specs that it tells; as `Pool`, but what is loaded is the service's own affair."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engines: dict[ModelSpec, RemoteEngine] = {}
        self._models: dict[str, ModelSpec] = {}
        self._listed = self._spared = -math.inf
        self._lock = threading.Lock()

    def models(self) -> tuple[ModelSpec, ...]:
        """What the service offers; what it offered last while it does not answer, and at first nothing."""
        with self._lock:
            now = time.monotonic()
            if (now - self._listed > LISTED_S or not self._models) and now > self._spared:
                try:
                    self._models = list_models(self._connect(LISTING_S))
                    self._listed = time.monotonic()
                except IntravistoError:
                    self._spared = time.monotonic() + SPARED_S
            return tuple(self._models.values())

    def open(self, spec: ModelSpec, session: str = "", token: str | None = None) -> Job:
        """A job whose result is the engine of a spec."""
        job = Job(spec, session)
        job.state = JobState.RUNNING
        job.progress = Progress(text=f"Waiting for the service at {self._url}")
        threading.Thread(target=self._work, args=(spec, job), name="intravisto-connect", daemon=True).start()
        return job

    def lease(self, spec: ModelSpec, session: str = "", token: str | None = None) -> Engine:
        """The engine of a spec.

        Raises:
            IntravistoError: the service has no such model, or does not answer.
        """
        with self._lock:
            known = self._engines.get(spec)
        if known is not None:
            return known
        connection = self._connect(PATIENCE_S)
        names = [name for name, told in list_models(connection).items() if told == spec]
        if not names:
            raise ModelError(
                expected("model", "one that the service offers", spec.source, "Choose one at the left and press Run")
            )
        engine = RemoteEngine(connection, names[0])
        with self._lock:
            return self._engines.setdefault(spec, engine)

    def renew(self, spec: ModelSpec, session: str = "") -> bool:
        """Whether the model was opened before."""
        return spec in self._engines

    def release(self, spec: ModelSpec, session: str = "") -> None:
        """Nothing: the service keeps its models."""

    def drop_idle(self, unused_for: float = 0.0) -> list[ModelSpec]:
        """Nothing: the service keeps its models."""
        return []

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """What was opened."""
        return tuple(self._engines)

    def _connect(self, patience: float) -> Connection:
        return Connection(self._url, os.environ.get(TOKEN), patience)

    def _work(self, spec: ModelSpec, job: Job) -> None:
        try:
            job.end(JobState.DONE, self.lease(spec, job.session))
        except IntravistoError as error:
            job.end(JobState.FAILED, error=error)
        except Exception as error:
            job.end(JobState.FAILED, error=ServiceError(f"{self._url}: {type(error).__name__}: {error}"))
