"""What an engine remembers of a trace even when its activations were evicted."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from intravisto_core.records import Token
from intravisto_core.request import TraceRequest
from intravisto_core.tracing.reuse import Reused


@dataclass(slots=True)
class TraceEntry:
    """Request, ids and kept logits of a trace; enough to run it again with the same schedule of calls.

    Of an edit also the id of its baseline, what of that was reused, and the traces that it keeps pinned. only_once: why
    it cannot be made again, or "".
    """

    id: str
    fingerprint: str
    session: str
    request: TraceRequest
    tokens: tuple[Token, ...]
    prompt_length: int
    forced_length: int
    last_logits: Float[Tensor, " V"]
    text: str
    cancelled: bool
    notes: list[str] = field(default_factory=list)
    baseline: str = ""
    reused: Reused | None = None
    holds: tuple[str, ...] = ()
    only_once: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids, prompt first."""
        return tuple(t.id for t in self.tokens)

    @property
    def length(self) -> int:
        """T, positions."""
        return len(self.tokens)
