"""Direct logit attribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Part, Refinement

MLP_PARTS = [str(p) for p in (Part.MLP, Part.NEURON, Part.OTHER_NEURONS, Part.MLP_BIAS)]


@dataclass(frozen=True, repr=False)
class Attribution(Record):
    """What each part of the final stream adds to the logit of a target, less that of a contrast (docs/methods.md §6).

    P parts, in the order in which they are added. Logits are differences where there is a contrast.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    position: int
    """The position in the text whose next token is meant."""
    target_id: int
    """Token id of the target."""
    contrast_id: int
    """Token id of the contrast; −1 for the mean over the vocabulary."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown."""
    by: Refinement
    """How finely the stream is cut."""
    kind: Array
    """What each part is: text, a Part."""
    layer: Int[Array, " P"]
    """Its layer, −1 where it is of none."""
    index: Int[Array, " P"]
    """Its head or neuron, −1 for none; of "other_neurons" how many they are."""
    expert: Int[Array, " P"]
    """Its expert, of a neuron in a mixture of experts; else −1."""
    value: Float[Array, " P"]
    """What it adds to the logit, before the soft-cap."""
    accumulated: Float[Array, " rows"]
    """(L+2,) by heatmap row: what the stream up to it adds, at the final norm's frozen scale; the last is `logit`."""
    logit: float
    """The model's own logit, before the soft-cap."""
    capped: float
    """The model's own after the soft-cap; equal where there is none."""
    remainder: float
    """`logit` less Σ `value`."""
    soft_cap: float
    """The soft-cap of the logits, 0 for none."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        check_shapes(self, **{n: (getattr(self, n), self.value.shape) for n in ("kind", "layer", "index", "expert")})
        check_shapes(self, accumulated=(self.accumulated, (self.n_layers + 2,)))

    @property
    def head_values(self) -> Float[Array, "L H"]:
        """What each head adds, by layer and head; NaN where a layer's attention was not cut into heads."""
        at = np.flatnonzero(self.kind == Part.HEAD)
        n_heads = int(self.index[at].max(initial=-1)) + 1
        values = np.full((self.n_layers, n_heads), np.nan)
        values[self.layer[at], self.index[at]] = self.value[at]
        return values

    @property
    def mlp_values(self) -> Float[Array, " L"]:
        """What each MLP adds, by layer; its neurons and its bias together where it was cut."""
        at = np.flatnonzero(np.isin(self.kind, MLP_PARTS))
        return np.bincount(self.layer[at], self.value[at], minlength=self.n_layers)

    def _summary(self) -> tuple[str, ...]:
        return (f"{len(self.value)} parts", f"by {self.by.value}", f"position {self.position}", self.model)
