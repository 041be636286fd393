"""Run the model and capture: hooks that always come off, attention capture, generation over the KV cache."""

from intravisto_core.tracing.attention import ATTENTION_NAME, use_traced_attention
from intravisto_core.tracing.preparing import prepare_in_turns
from intravisto_core.tracing.run import RunControl, run
from intravisto_core.tracing.trace_data import TraceData

__all__ = ["ATTENTION_NAME", "RunControl", "TraceData", "prepare_in_turns", "run", "use_traced_attention"]
