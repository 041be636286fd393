"""One model that answers requests: jobs, turns, the store of traces, the pool of models."""

from intravisto_core.engine.base import Engine, Job, Progress
from intravisto_core.engine.local import LocalEngine, diagnostics
from intravisto_core.engine.pool import Pool
from intravisto_core.engine.trace import Trace

__all__ = ["Engine", "Job", "LocalEngine", "Pool", "Progress", "Trace", "diagnostics"]
