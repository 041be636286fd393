"""What a mixture of experts did in one layer."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token


@dataclass(frozen=True)
class Experts(Record):
    """Which experts each position went to, with what weight, and the neurons of one of them (docs/methods.md §1).

    n_routed: E, the experts that take turns; one that all positions go to is numbered E. probabilities: (T, E) softmax
    of the router's logits over all experts. chosen, weights: (T, k) what the output of each chosen expert is multiplied
    by, as the family computes it. expert: whose neurons follow, or None. positions: (n,) those that went to it. act:
    (n, d_expert) its neurons there, before the weight.
    """

    trace: str
    layer: int
    n_routed: int
    probabilities: Float[Array, "T E"]
    chosen: Int[Array, "T k"]
    weights: Float[Array, "T k"]
    tokens: tuple[Token, ...] = ()
    expert: int | None = None
    positions: Int[Array, " n"] | None = None
    act: Float[Array, "n d_expert"] | None = None

    def __post_init__(self) -> None:
        length = len(self.chosen)
        if (self.act is None) != (self.expert is None) or (self.positions is None) != (self.expert is None):
            raise TraceError("Experts: expected an expert with its positions and neurons, or none of them")
        check_shapes(self, weights=(self.weights, self.chosen.shape))
        check_shapes(self, probabilities=(self.probabilities, (length, self.n_routed)))
        if self.act is not None and self.positions is not None:
            check_shapes(self, positions=(self.positions, self.act.shape[:1]))

    @property
    def n_experts(self) -> int:
        """All experts of the layer, a shared one among them."""
        return max(self.n_routed, int(self.chosen.max()) + 1)
