"""One model that answers requests: jobs, turns, traces, the pool of models."""

from intravisto_core.engine.base import Engine, Trace
from intravisto_core.engine.diagnostics import diagnostics
from intravisto_core.engine.job import Job
from intravisto_core.engine.local import LocalEngine
from intravisto_core.engine.model_difference import compare_models
from intravisto_core.engine.pool import Pool
from intravisto_core.engine.trace_info import TraceInfo

__all__ = ["Engine", "Job", "LocalEngine", "Pool", "Trace", "TraceInfo", "compare_models", "diagnostics"]
