"""A view of one trace as a job."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from intravisto_core.progress import Progress
from intravisto_core.request import ViewRequest
from intravisto_core.traces.trace_data import read_data
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.views.context import ViewContext
from intravisto_core.views.registry import VIEWS


def run_view(traces: Traces, view: ViewRequest, session: str, control: RunControl) -> Generator[Progress, None, Any]:
    """The record of a view, by the function that `VIEWS` names for it."""
    entry = traces.entry(view.trace, session)
    data = yield from read_data(traces, entry)
    return (yield from VIEWS[type(view)](ViewContext.of(traces, entry, data), view))
