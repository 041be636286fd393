"""The traces of one model: kept under a byte budget, owned by sessions, made again when they were evicted.

Data of unedited traces (`plain_runs`) stands below edits (`edited_runs`); data of any trace (`trace_data`) above both.
"""

from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_store import Traces

__all__ = ["TraceEntry", "Traces"]
