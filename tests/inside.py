"""What tests look at behind the public face: the one place that knows where it is."""

from __future__ import annotations

from intravisto_core.engine import LocalEngine, Trace
from intravisto_core.traces import TraceEntry


def entry_of(trace: Trace) -> TraceEntry:
    """What the engine remembers of a trace: what was reused, what it holds."""
    engine = trace.engine
    assert isinstance(engine, LocalEngine)
    return engine.traces.entry(trace.id, trace.session)
