"""Which work answers which kind of request, and whose turn comes first: the one table of them all."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from intravisto_core.engine.dispatcher import Priority
from intravisto_core.engine.jobs.check_links import run_link_check
from intravisto_core.engine.jobs.compare import run_compare
from intravisto_core.engine.jobs.direction import run_direction
from intravisto_core.engine.jobs.trace import run_trace
from intravisto_core.engine.jobs.view import run_view
from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress
from intravisto_core.request import CompareView, DirectionRequest, LinkCheckView, TraceRequest
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.views.registry import VIEWS

# (traces, request, session, control) to turns whose result is a record or a TraceEntry
Work = Callable[[Traces, Any, str, RunControl], Generator[Progress, None, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of request is answered."""

    work: Work
    priority: Priority


JOBS: dict[type, Kind] = {
    TraceRequest: Kind(run_trace, Priority.TRACE),
    DirectionRequest: Kind(run_direction, Priority.TRACE),
    LinkCheckView: Kind(run_link_check, Priority.TRACE),
    CompareView: Kind(run_compare, Priority.VIEW),
    **{view: Kind(run_view, Priority.VIEW) for view in VIEWS},
}


def kind_of(request: object) -> Kind:
    """How a request is answered.

    Raises:
        RequestError: it is no request at all.
    """
    found = JOBS.get(type(request))
    if found is None:
        names = sorted(kind.__name__ for kind in JOBS)
        raise RequestError(expected("request", names, type(request).__name__))
    return found
