"""A run as a job: of a prompt, or of a prompt with interventions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from intravisto_core.progress import Progress
from intravisto_core.request import TraceBatch, TraceRequest
from intravisto_core.request.ranges import resolve_layers_and_heads
from intravisto_core.sites import TextMode
from intravisto_core.traces.batches import Answer, run_many
from intravisto_core.traces.edited_runs import run_edit
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.plain_runs import run_plain
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl


def run_trace(
    traces: Traces, request: TraceRequest, session: str, control: RunControl
) -> Generator[Progress, None, TraceEntry]:
    """Run a request and remember it; an edit without a baseline is preceded by the run of its baseline.

    Raises:
        IntravistoError: the prompt, an option or an intervention does not serve, or the model gave infinite values.
    """
    size = traces.model.dimensions
    counts = size.n_layers, size.n_heads, size.n_kv_heads
    named = tuple(resolve_layers_and_heads(each, *counts) for each in request.interventions)
    request = replace(request, interventions=named)
    if request.interventions and request.baseline:
        return (yield from run_edit(traces, request, session, control))
    plain = replace(request, interventions=(), text=TextMode.FREE) if request.interventions else request
    data = yield from run_plain(traces, plain, control)
    entry = traces.remember(plain, session, data, control.new_id())
    if request.interventions:
        entry = yield from run_edit(traces, replace(request, baseline=entry.id), session, control)
    return entry


def run_trace_batch(
    traces: Traces, batch: TraceBatch, session: str, control: RunControl
) -> Generator[Progress, None, list[Answer]]:
    """Run many requests and remember them; an error takes the place of its prompt's trace."""
    return (yield from run_many(traces, batch.requests, session, control))
