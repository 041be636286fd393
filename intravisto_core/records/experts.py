"""What a mixture of experts did in one layer."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token


@dataclass(frozen=True, repr=False)
class Experts(Record):
    """Which experts each position went to, with what weight, and the neurons of one of them (docs/methods.md §1)."""

    trace: str
    """The trace that it was read from, by its id."""
    layer: int
    """The layer that is meant."""
    n_routed: int
    """E, the experts that the router chooses from; one that all positions go to is numbered E."""
    probabilities: Float[Array, "T E"]
    """Softmax of the router's logits over all experts, in [0, 1]."""
    chosen: Int[Array, "T k"]
    """Numbers of the k experts that each position went to."""
    weights: Float[Array, "T k"]
    """What the output of each chosen expert is multiplied by, as the family computes it."""
    tokens: tuple[Token, ...] = ()
    """All T tokens of the text, prompt first."""
    expert: int | None = None
    """The expert whose neurons follow, or None."""
    positions: Int[Array, " n"] | None = None
    """The n positions that went to it, or None."""
    act: Float[Array, "n d_expert"] | None = None
    """Values of its neurons there, before the weight; or None."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        length = len(self.chosen)
        if (self.act is None) != (self.expert is None) or (self.positions is None) != (self.expert is None):
            raise TraceError("Experts: expected an expert with its positions and neurons, or none of them")
        check_shapes(self, weights=(self.weights, self.chosen.shape))
        check_shapes(self, probabilities=(self.probabilities, (length, self.n_routed)))
        if self.act is not None and self.positions is not None:
            check_shapes(self, positions=(self.positions, self.act.shape[:1]))

    def _summary(self) -> tuple[str, ...]:
        return (
            f"layer {self.layer}",
            f"{self.chosen.shape[1]} of {self.n_routed} experts",
            f"{len(self.chosen)} positions",
        )

    @property
    def n_experts(self) -> int:
        """All experts of the layer, a shared one among them."""
        return max(self.n_routed, int(self.chosen.max()) + 1)
