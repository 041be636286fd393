"""Runs and views that take time: started in jobs of the engine, and only polled by the pages."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.engine import Engine, Job, Trace
from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_core.progress import Progress
from intravisto_core.records.memory import size
from intravisto_core.request import ModelSpec, TraceRequest, View
from intravisto_ui.session import settings
from intravisto_ui.session.pool import pool

POLL_S = 0.2
SHOWN_AFTER_S = 0.15
log = logging.getLogger("intravisto")

R = TypeVar("R")


class Run:
    """Opening a model, then running a request on it, in a thread of its own. Safe to read from any thread.

    request: None only opens the model. token: for the Hub, kept until the model is open.
    """

    def __init__(self, spec: ModelSpec, request: TraceRequest | None, session: str, token: str = "") -> None:
        self._token: str | None = token or None
        self._opening: Job | None = None
        self.spec = spec
        self.request = request
        self.session = session
        self.engine: Engine | None = None
        self.trace: Trace | None = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self._began = time.monotonic()
        self._job: Job | None = None
        self._cancelled = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin, and return at once."""
        threading.Thread(target=self._work, name="intravisto-run", daemon=True).start()

    def _work(self) -> None:
        try:
            self._open_and_run()
        except IntravistoError as error:
            self.error = error
        except Exception as error:
            log.exception("a run ended with an unexpected error")
            self.error = error
        finally:
            self._ended.set()

    def _open_and_run(self) -> None:
        settings.read().check_model(self.spec)
        self._opening = pool().open(self.spec, session=self.session, token=self._token)
        self._token = None
        if self._cancelled.is_set():
            self._opening.cancel()
        engine: Engine = self._opening.result()
        self.engine = engine
        if self.request is None:
            return
        if self._cancelled.is_set():
            raise Cancelled("cancelled while the model was being opened")
        began = time.perf_counter()
        self._job = engine.submit(self.request, session=self.session)
        if self._cancelled.is_set():
            self._job.cancel()
        self.trace = self._job.result()
        self.seconds = time.perf_counter() - began

    def cancel(self) -> None:
        """Ask it to stop; a download ends at once and goes on from there the next time."""
        self._cancelled.set()
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
        if self._cancelled.is_set():
            return 1.0, "Stopping …"
        if job is None:
            return self._opening_progress()
        if job.place > 0:
            return 0.0, f"Waiting: {job.place} before this one"
        done, total, text = job.progress.done, job.progress.total, job.progress.text
        part = min(1.0, done / total) if total else 0.0
        return part, f"{text or 'Running'} · {done} of {total}" if total else text or "Running …"

    def _opening_progress(self) -> tuple[float, str]:
        name = "the demo model" if self.spec.source == settings.DEMO else self.spec.source
        step = self._opening.progress if self._opening is not None else Progress()
        if not step.total:
            return 0.0, f"Opening {name} …" + (f" {step.text}" if step.text else "")
        return min(1.0, step.done / step.total), f"{name}: {step.text} · {size(step.done)} of {size(step.total)}"


def compute_view(engine: Engine, view: View[R], session: str, slot: str) -> R:
    """The record of a view. Shows progress when it takes time, and gives up when the user does something else.

    Raises:
        IntravistoError: why there is no record.
    """
    record: R = _wait_for(engine.submit(view, session=session, slot=slot))
    return record


def compute_trace(engine: Engine, request: TraceRequest, session: str, slot: str) -> Trace:
    """The trace of a request, waited for as `compute_view` waits for a record.

    Raises:
        IntravistoError: why there is none.
    """
    trace: Trace = _wait_for(engine.submit(request, session=session, slot=slot))
    return trace


def _wait_for(job: Job) -> Any:
    bar: DeltaGenerator | None = None
    try:
        while True:
            try:
                return job.result(timeout=SHOWN_AFTER_S if bar is None else POLL_S)
            except TimeoutError:
                done, total = job.progress.done, job.progress.total
                bar = bar or st.empty()
                # writing here is also where Streamlit may end this script for a newer one
                bar.progress(min(1.0, done / total) if total else 0.0, text=job.progress.text or "Decoding …")
    except BaseException:
        job.cancel()
        raise
    finally:
        if bar is not None:
            bar.empty()
