"""The activations of any trace, edited or not."""

from __future__ import annotations

from collections.abc import Generator

from intravisto_core.progress import Progress
from intravisto_core.traces.edited_runs import run_edit_again
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.plain_runs import keep_again, read_plain_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import TraceData


def read_data(traces: Traces, entry: TraceEntry) -> Generator[Progress, None, TraceData]:
    """The activations of a trace; evicted ones are made again by the same schedule of calls and compared.

    Raises:
        TraceError: an edit cannot be made again, since its baseline or a source is gone.
    """
    if not entry.request.interventions:
        return (yield from read_plain_data(traces, entry))
    data = traces.kept_data(entry)
    if data is None:
        data = yield from run_edit_again(traces, entry)
        keep_again(traces, entry, data)
    return data
