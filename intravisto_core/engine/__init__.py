"""One model that answers requests: jobs, turns, traces, the pool of models; and runs that were saved.

Names load when they are used: a saved run opens without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intravisto_core.lazy_names import load_when_used

if TYPE_CHECKING:
    from intravisto_core.engine.base import Engine as Engine
    from intravisto_core.engine.base import Trace as Trace
    from intravisto_core.engine.describe import diagnostics as diagnostics
    from intravisto_core.engine.findings import retest as retest
    from intravisto_core.engine.job import Job as Job
    from intravisto_core.engine.local import LocalEngine as LocalEngine
    from intravisto_core.engine.model_difference import compare_models as compare_models
    from intravisto_core.engine.pool import Pool as Pool
    from intravisto_core.engine.reopening import open_trace as open_trace
    from intravisto_core.engine.saved import SavedEngine as SavedEngine
    from intravisto_core.engine.trace_info import TraceInfo as TraceInfo

__getattr__, __dir__ = load_when_used(
    __name__,
    {
        "base": "Engine Trace",
        "describe": "diagnostics",
        "findings": "retest",
        "job": "Job",
        "local": "LocalEngine",
        "model_difference": "compare_models",
        "pool": "Pool",
        "reopening": "open_trace",
        "saved": "SavedEngine",
        "trace_info": "TraceInfo",
    },
)
