"""Direct logit attribution."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Refinement


@dataclass(frozen=True)
class Attribution(Record):
    """What each part of the final stream adds to the logit of a target, less that of a contrast (docs/methods.md §6).

    position: whose next token is spoken of. target_id, contrast_id: token ids; contrast −1: the mean over the
    vocabulary. target, contrast: as shown. by: how finely the stream is cut.
    Parts, P of them, in the order in which they are added: kind: (P,) text, a Part. layer: −1 where a part is of none.
    index: the head or neuron, −1 for none; of "other_neurons" how many they are. expert: of a neuron in a mixture of
    experts, else −1. value: (P,) what it adds to the logit (difference), before the soft-cap.
    logit: the model's own logit (difference), before the soft-cap; remainder: logit − Σ value. capped: the model's own
    after the soft-cap (equal where there is none). accumulated: (L+2,) by heatmap row: what the stream up to row r
    adds, at the final norm's frozen scale; the last is `logit`, with the biases and the remainder.
    """

    trace: str
    model: str
    n_layers: int
    prompt_length: int
    tokens: tuple[Token, ...]
    position: int
    target_id: int
    contrast_id: int
    target: str
    contrast: str
    by: Refinement
    kind: Array
    layer: Int[Array, " P"]
    index: Int[Array, " P"]
    expert: Int[Array, " P"]
    value: Float[Array, " P"]
    accumulated: Float[Array, " rows"]
    logit: float
    capped: float
    remainder: float
    soft_cap: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_shapes(self, **{n: (getattr(self, n), self.value.shape) for n in ("kind", "layer", "index", "expert")})
        check_shapes(self, accumulated=(self.accumulated, (self.n_layers + 2,)))
