"""What tests look at behind the public face: the one place that knows where it is."""

from __future__ import annotations

from typing import Any

from intravisto_core import ModelSpec, Pool
from intravisto_core.engine import LocalEngine, Trace
from intravisto_core.engine.opening import Opening
from intravisto_core.traces import TraceEntry
from intravisto_core.views.context import ViewContext


def entry_of(trace: Trace) -> TraceEntry:
    """What the engine remembers of a trace: what was reused, what it holds."""
    engine = trace.engine
    assert isinstance(engine, LocalEngine)
    return engine.kept_traces.entry(trace.id, trace.session)


def context_of(engine: LocalEngine, trace: Trace) -> ViewContext:
    """What the views of an unedited trace are computed from."""
    entry = entry_of(trace)
    data = engine.kept_traces.kept_data(entry)
    assert data is not None
    return ViewContext.of(engine.kept_traces, entry, data)


def count_waiting(engine: LocalEngine) -> int:
    """How many tasks wait for their turn."""
    return engine._dispatcher.n_waiting


def opening_of(pool: Pool, spec: ModelSpec) -> Opening:
    """The work that opens a model, or has opened it."""
    return pool._places[spec].opening


def wait_for_error(opening: Opening, seconds: float) -> BaseException | None:
    """What ended the work that opens a model, once its thread has ended."""
    opening._thread.join(seconds)
    assert not opening._thread.is_alive()
    return opening._error


def compute_records_anew(monkeypatch: Any) -> None:
    """Every record is computed when it is asked for, also where an equal one was kept."""
    monkeypatch.setattr("intravisto_core.engine.jobs.kept_records._name", lambda *asked: ("anew", object()))
