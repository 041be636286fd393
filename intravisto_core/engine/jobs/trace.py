"""A run as a job: of a prompt, or of a prompt with interventions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from intravisto_core.progress import Progress
from intravisto_core.request import TraceRequest
from intravisto_core.sites import TextMode
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
    if request.interventions and request.baseline:
        return (yield from run_edit(traces, request, session, control))
    plain = replace(request, interventions=(), text=TextMode.FREE) if request.interventions else request
    data = yield from run_plain(traces, plain, control)
    entry = traces.remember(plain, session, data)
    if request.interventions:
        entry = yield from run_edit(traces, replace(request, baseline=entry.id), session, control)
    return entry
