"""Records that are asked for again come from the store, under its byte budget, whatever view they answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import deepcopy
from typing import Any

from intravisto_core.progress import Progress
from intravisto_core.traces.byte_store import count_bytes
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl

# (traces, request, session, control) to turns whose result is a record or a TraceEntry
Work = Callable[[Traces, Any, str, RunControl], Generator[Progress, None, Any]]
# a record larger than this part of the store would push out what it was made of
LARGEST_SHARE = 1 / 16


def keep_records(work: Work) -> Work:
    """The same work, done once for equal requests; of a trace of another session nothing is given.

    A heatmap that is not waited for is none: the next one has more columns.
    """

    def run(traces: Traces, view: Any, session: str, control: RunControl) -> Generator[Progress, None, Any]:
        if getattr(view, "within", None) is not None:
            return (yield from work(traces, view, session, control))
        key = _name(traces, view, session)
        found = traces.store.get(key)
        if found is None:
            found = yield from work(traces, view, session, control)
            size = count_bytes(found)
            # under the name that it has now: a trace that was made again may have got a note
            if size <= LARGEST_SHARE * traces.store.budget:
                traces.store.put(_name(traces, view, session), deepcopy(found), size)
            return found
        # one that its user writes into is not the one that is kept
        return deepcopy(found)

    return run


def _name(traces: Traces, view: Any, session: str) -> tuple[Any, ...]:
    """What a record depends on: the request, what is said of its traces, and what is known of the model by now."""
    names = (view.trace, *([view.edited] if hasattr(view, "edited") else []))
    notes = tuple(tuple(traces.entry(name, session).notes) for name in names)
    checks = tuple((str(c), check.ok, check.reason) for c, check in traces.card.capabilities.items())
    added = tuple((name, dictionary.handle) for name, dictionary in sorted(traces.dictionaries.items()))
    return ("record", names, view, notes, checks, added)
