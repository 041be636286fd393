"""Traces of tiny models that have attention sinks: random models have none by the rule, so it is made milder here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import intravisto_core as iv

MILDER = {"LEAST": 0.0, "TIMES_EVEN": 0.9, "SMALL": 1.3}


@contextmanager
def milder_rule() -> Iterator[None]:
    """Many keys are sinks."""
    with patch.multiple("intravisto_core.analysis.sinks", **MILDER):
        yield


def trace_with_sinks(engine: iv.LocalEngine, prompt: str | tuple[int, ...], n_new: int = 4) -> iv.Trace:
    """A trace of its own whose sinks were found by the milder rule, and are kept."""
    trace = engine.trace(prompt, max_new_tokens=n_new)
    trace.pin()
    with milder_rule():
        found = trace.sinks()
    assert any(len(at) > 1 for _, at in found), "some layer has several"
    return trace
