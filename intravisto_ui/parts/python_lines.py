"""The lines of Python that make again what a page shows; every page's “copy as Python” begins with them."""

from __future__ import annotations

import json

from intravisto_core.request import Generation, ModelSpec, Selection, Span, TraceRequest
from intravisto_ui.session.shown import Shown

_SPEC = tuple(name for name in ModelSpec.__dataclass_fields__ if name != "source")


def write_run(shown: Shown) -> list[str]:
    """Import, open, trace: afterwards there are an `engine` and a `trace`."""
    spec, request, plain = shown.spec, shown.request, ModelSpec()
    options = [repr(spec.source)]
    options += [f"{n}={getattr(spec, n)!r}" for n in _SPEC if getattr(spec, n) != getattr(plain, n)]
    return [
        "import intravisto_core as iv",
        "",
        f"engine = iv.open_model({', '.join(options)})",
        write_trace_call("trace", request),
    ]


def write_trace_call(name: str, request: TraceRequest) -> str:
    """The line that traces a prompt, and keeps it under a name."""
    return f"{name} = engine.trace({', '.join(_write_arguments(request))})"


def _write_arguments(request: TraceRequest) -> list[str]:
    arguments = [repr(request.prompt)]
    plain, blank = Generation(), TraceRequest("a")
    for name in Generation.__dataclass_fields__:
        value = getattr(request.generation, name)
        if value != getattr(plain, name):
            arguments.append(f"{name}={value!r}")
    for name in ("add_special_tokens", "chat", "messages"):
        if getattr(request, name) != getattr(blank, name):
            arguments.append(f"{name}={getattr(request, name)!r}")
    return arguments


def write_selection(value: Selection | None) -> str:
    """Rows or positions as they are written in a call."""
    return f"iv.Span({value.start}, {value.stop})" if isinstance(value, Span) else json.dumps(list(value or ()))
