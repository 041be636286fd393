"""One model that answers requests: jobs, turns, traces, the pool of models; and runs that were saved.

What needs torch is loaded when it is used, since a saved run opens without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from intravisto_core.engine.base import Engine, Trace
from intravisto_core.engine.findings import retest
from intravisto_core.engine.job import Job
from intravisto_core.engine.reopening import open_trace
from intravisto_core.engine.saved import SavedEngine
from intravisto_core.engine.trace_info import TraceInfo

if TYPE_CHECKING:
    from intravisto_core.engine.describe import diagnostics
    from intravisto_core.engine.local import LocalEngine
    from intravisto_core.engine.model_difference import compare_models
    from intravisto_core.engine.pool import Pool

__all__ = [
    "Engine",
    "Job",
    "LocalEngine",
    "Pool",
    "SavedEngine",
    "Trace",
    "TraceInfo",
    "compare_models",
    "diagnostics",
    "open_trace",
    "retest",
]

# the module of each name that is loaded when it is used; PEP 562
_MODULES = {
    "LocalEngine": "local",
    "Pool": "pool",
    "compare_models": "model_difference",
    "diagnostics": "describe",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
