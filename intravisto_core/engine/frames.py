"""Records of many traces as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any

from intravisto_core.engine.base import Trace
from intravisto_core.engine.trace_views import TraceViews
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.records import Record
from intravisto_core.request import View
from intravisto_core.request.fields import read_list

if TYPE_CHECKING:
    import pandas as pd


def frame(
    traces: Iterable[Trace | IntravistoError], view: Callable[[Any], Any] | View[Any] | str, **options: Any
) -> pd.DataFrame:
    """The tables of one view over many traces, one below the other.

    traces: as `engine.traces` gives them. Columns `trace` (its place in the list), `prompt` (its text) and `error` come
    first; a prompt that ended with an error has one line, which says it. view: the name of a trace's method
    ("heatmap"), a view request, which is asked of each trace, or a function of the trace that gives a record
    (`lambda t: t.heatmap(rows=[-1])`), a view request or a table. options: of the method that is named.

    Raises:
        RequestError: a trace has no such view, or what came is no record and no table.
    """
    import pandas as pd

    parts = []
    given = (
        [traces] if isinstance(traces, Trace) else read_list(traces, "traces", "traces, as engine.traces gives them")
    )
    for number, trace in enumerate(given):
        if isinstance(trace, IntravistoError):
            table, prompt, error = pd.DataFrame([{}]), "", str(trace)
        elif isinstance(trace, Trace):
            table, prompt, error = _table_of(trace, view, options), _prompt_of(trace), ""
        else:
            raise RequestError(expected("traces", "traces, and the errors among them", type(trace).__name__))
        found = table.drop(columns=[name for name in ("trace", "prompt", "error") if name in table.columns])
        for place, (name, value) in enumerate((("trace", number), ("prompt", prompt), ("error", error))):
            found.insert(place, name, value)
        parts.append(found)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["trace", "prompt", "error"])


def _prompt_of(trace: Trace) -> str:
    asked = trace.request.prompt
    return asked if isinstance(asked, str) else " ".join(map(str, asked))


def _table_of(trace: Trace, view: Any, options: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if isinstance(view, str):
        # of the views alone: "forget" and "save" are methods of a trace too
        known = any(view in vars(kind) for kind in TraceViews.__mro__)
        method = getattr(trace, view) if known and not view.startswith("_") else None
        if method is None:
            raise RequestError(expected("view", 'the name of a view of a trace, such as "heatmap"', view))
        try:
            signature(method).bind(**options)
        except TypeError as error:
            raise RequestError(f"frame: expected what {view} needs as options; {error}") from None
        found = method(**options)
    elif isinstance(view, View) and hasattr(view, "trace") and not options:
        found = replace(view, trace=trace.id)  # type: ignore[type-var]
    elif callable(view) and not options:
        found = view(trace)
    else:
        allowed = "the name of a view with its options, a view request, or a function of the trace"
        raise RequestError(expected("view", allowed, view))
    if isinstance(found, View):
        found = trace.view(found)
    if isinstance(found, Record):
        return found.frame()
    if isinstance(found, pd.DataFrame):
        return found.copy()
    raise RequestError(expected("view", "one that gives a record or a table", type(found).__name__))
