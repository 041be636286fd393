"""Runs and views that take time: started in jobs of the engine, and only polled by the pages."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import streamlit as st

from intravisto_core.errors import BusyError, Cancelled
from intravisto_core.progress import Progress
from intravisto_core.request import ModelSpec, Request, TraceRequest
from intravisto_ui.session import settings
from intravisto_ui.session.pool import pool
from intravisto_ui.session.text import size

POLL_S = 0.2
log = logging.getLogger("intravisto")


class Run:
    """Opening a model, then running a request on it, in a thread of its own. Safe to read from any thread.

    request: None only opens the model. token: for the Hub, kept until the model is open.
    """

    def __init__(self, spec: ModelSpec, request: TraceRequest | None, session: str, token: str = "") -> None:
        self._token: str | None = token or None
        self._opening: Any = None
        self.spec = spec
        self.request = request
        self.session = session
        self.engine: Any = None
        self.trace: Any = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self._began = time.monotonic()
        self._job: Any = None
        self._cancelled = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin, and return at once."""
        threading.Thread(target=self._work, name="intravisto-run", daemon=True).start()

    def _work(self) -> None:
        try:
            self._open_and_run()
        except Exception as error:
            if type(error).__module__ != "intravisto_core.errors":
                log.exception("a run ended with an unexpected error")
            self.error = error
        finally:
            self._ended.set()

    def _open_and_run(self) -> None:
        allowed = settings.read()
        allowed.check_model(self.spec)
        self._opening = pool().open(self.spec, session=self.session, token=self._token)
        self._token = None
        if self._cancelled:
            self._opening.cancel()
        self.engine = self._opening.result()
        if self.request is None:
            return
        if self._cancelled:
            raise Cancelled("cancelled while the model was being opened")
        allowed.check_request(self.request, self.engine.tokenize)
        began = time.perf_counter()
        self._job = self.engine.submit(self.request, session=self.session)
        try:
            allowed.check_queue(self._job.place)
        except BusyError:
            self._job.cancel()
            raise
        if self._cancelled:
            self._job.cancel()
        self.trace = self._job.result()
        self.seconds = time.perf_counter() - began

    def cancel(self) -> None:
        """Ask it to stop; a download ends at once and goes on from there the next time."""
        self._cancelled = True
        for job in (self._opening, self._job):
            if job is not None:
                job.cancel()

    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._began

    @property
    def was_opening(self) -> bool:
        """Whether it ended, or is, before its model was open."""
        return self._opening is not None and self.engine is None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most so long; whether it has ended."""
        return self._ended.wait(seconds)

    def progress(self) -> tuple[float, str]:
        """How far it is, from 0 to 1, and that in words."""
        job = self._job
        if self._cancelled:
            return 1.0, "Stopping …"
        if job is None:
            return self._opening_progress()
        if job.place > 0:
            return 0.0, f"Waiting: {job.place} before this one"
        done, total, text = job.progress.done, job.progress.total, job.progress.text
        part = min(1.0, done / total) if total else 0.0
        return part, f"{text or 'Running'} · {done} of {total}" if total else text or "Running …"

    def _opening_progress(self) -> tuple[float, str]:
        name = "the demo model" if self.spec.source == "demo" else self.spec.source
        step = self._opening.progress if self._opening is not None else Progress()
        if not step.total:
            return 0.0, f"Opening {name} …" + (f" {step.text}" if step.text else "")
        return min(1.0, step.done / step.total), f"{name}: {step.text} · {size(step.done)} of {size(step.total)}"


def view(engine: Any, request: Request, session: str, slot: str) -> Any:
    """The record of a view. Shows progress when it takes time, and gives up when the user does something else.

    Raises:
        IntravistoError: why there is no record.
    """
    job = engine.submit(request, session=session, slot=slot)
    place = None
    try:
        while True:
            try:
                return job.result(timeout=0.15 if place is None else POLL_S)
            except TimeoutError:
                done, total = job.progress.done, job.progress.total
                place = place or st.empty()
                # writing here is also where Streamlit may end this script for a newer one
                place.progress(min(1.0, done / total) if total else 0.0, text=job.progress.text or "Decoding …")
    except BaseException:
        job.cancel()
        raise
    finally:
        if place is not None:
            place.empty()
