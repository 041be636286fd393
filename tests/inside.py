"""What tests look at behind the public face: the one place that knows where it is."""

from __future__ import annotations

from intravisto_core import ModelSpec, Pool
from intravisto_core.engine import LocalEngine, Trace
from intravisto_core.engine.opening import Opening
from intravisto_core.traces import TraceEntry


def entry_of(trace: Trace) -> TraceEntry:
    """What the engine remembers of a trace: what was reused, what it holds."""
    engine = trace.engine
    assert isinstance(engine, LocalEngine)
    return engine.traces.entry(trace.id, trace.session)


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
