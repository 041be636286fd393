"""Runs and views that take time: started in jobs of the engine, and only polled by the pages."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.engine import Engine, Job, Trace
from intravisto_core.errors import Cancelled, IntravistoError, RequestError, Superseded
from intravisto_core.progress import Progress
from intravisto_core.records.memory import size
from intravisto_core.request import HeatmapView, ModelSpec, ModuleBlock, TraceRequest, View
from intravisto_ui.session import interrupts, settings
from intravisto_ui.session.pool import pool

if TYPE_CHECKING:
    from intravisto_core.engine import LocalEngine
    from intravisto_core.engine.hook_block import HookBlock
    from intravisto_core.engine.remote import RemoteEngine
    from intravisto_core.inspection.watch import Watch

POLL_S = 0.2
SHOWN_AFTER_S = 0.3
SEEN_VIEWS, SEEN_SESSIONS = 60, 200
log = logging.getLogger("intravisto")
_seen: OrderedDict[str, OrderedDict[View[Any], None]] = OrderedDict()
_seen_lock = threading.Lock()

R = TypeVar("R")
# where the part of the page that is drawn now shows how far its views are
_frame: ContextVar[DeltaGenerator | None] = ContextVar("frame", default=None)


@contextmanager
def showing_progress_in(place: DeltaGenerator) -> Iterator[None]:
    """What is waited for inside shows its progress at that place, an empty one; what stands under it stays."""
    token = _frame.set(place)
    try:
        yield
    finally:
        _frame.reset(token)


class Run:
    """Opening a model, then running a request on it, in a thread of its own. Safe to read from any thread.

    request: None only opens the model. token: for the Hub, kept until the model is open. blocks: what is measured while
    it runs; see `watches`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        request: TraceRequest | None,
        session: str,
        token: str = "",
        blocks: Sequence[ModuleBlock] = (),
    ) -> None:
        self._token: str | None = token or None
        self._blocks = tuple(blocks)
        self.watches: tuple[Watch, ...] = ()
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
        engine: LocalEngine | RemoteEngine = self._opening.result()
        self.engine = engine
        if self.request is None:
            return
        if self._cancelled.is_set():
            raise Cancelled("cancelled while the model was being opened")
        began = time.perf_counter()
        self._job = self._submit(engine, self.request)
        if self._cancelled.is_set():
            self._job.cancel()
        self.trace = self._job.result()
        self.seconds = time.perf_counter() - began

    def _submit(self, engine: LocalEngine | RemoteEngine, request: TraceRequest) -> Job:
        """Ask for the run, with the functions that measure in it; blocks of another model's modules are left out.

        At a service no function of this process is run: there, what is measured comes with the end of the run alone.
        """
        hooks: HookBlock | None = None
        if self._blocks:
            with suppress(RequestError):
                hooks = engine.hook(session=self.session)
        if hooks is None:
            return engine.submit(request, session=self.session)
        with hooks:
            found = []
            for block in self._blocks:
                with suppress(RequestError):
                    found.append(hooks.watch(block))
            self.watches = tuple(found)
            return engine.submit(request, session=self.session)

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


def compute_view(engine: Engine, view: View[R], session: str, slot: str, says: bool = True) -> R:
    """The record of a view. Where it takes time its progress stands in the frame that is being drawn
    (`showing_progress_in`); it is given up when the user does something else.

    says: whether that progress is shown; a picture that grows has it in its own foot.

    Raises:
        IntravistoError: why there is no record.
    """
    while True:
        interrupts.end_if_stopped()
        try:
            record: R = _wait_for(engine.submit(view, session=session, slot=slot), says)
        except Superseded:
            # by a script of this page that was ended, but had not come to its end yet
            if not interrupts.draws_page():
                raise
        else:
            _note_seen(session, view)
            return record


def seen_views(session: str) -> tuple[View[Any], ...]:
    """The views that a session looked at last, the newest last."""
    with _seen_lock:
        return tuple(_seen.get(session, ()))


def _note_seen(session: str, view: View[Any]) -> None:
    if isinstance(view, HeatmapView):
        # a picture that grows is one view, however often it was asked for
        view = replace(view, first=None, within=None)
    with _seen_lock:
        views = _seen.setdefault(session, OrderedDict())
        _seen.move_to_end(session)
        views[view] = None
        views.move_to_end(view)
        while len(views) > SEEN_VIEWS:
            views.popitem(last=False)
        while len(_seen) > SEEN_SESSIONS:
            _seen.popitem(last=False)


def compute_trace(engine: Engine, request: TraceRequest, session: str, slot: str) -> Trace:
    """The trace of a request, waited for as `compute_view` waits for a record.

    Raises:
        IntravistoError: why there is none.
    """
    trace: Trace = _wait_for(engine.submit(request, session=session, slot=slot))
    return trace


def _describe_progress(job: Job) -> tuple[float, str]:
    """How far a job is, from 0 to 1, and that in words."""
    if job.place > 0:
        return 0.0, f"Waiting: {job.place} before this one"
    done, total, text = job.progress.done, job.progress.total, job.progress.text or "computing"
    words = text[:1].upper() + text[1:]
    return (min(1.0, done / total), f"{words}: {done} of {total}") if total else (0.0, f"{words} …")


def _wait_for(job: Job, says: bool = True) -> Any:
    bar: DeltaGenerator | None = None
    began = time.monotonic()
    try:
        while True:
            try:
                return job.result(timeout=POLL_S / 2)
            except TimeoutError:
                interrupts.heed()
                if says and time.monotonic() - began >= SHOWN_AFTER_S:
                    bar = bar or _frame.get() or st.empty()
                    # writing here is also where Streamlit may end this script for a newer one
                    bar.progress(*_describe_progress(job))
    except BaseException:
        job.cancel()
        raise
    finally:
        if bar is not None:
            bar.empty()
