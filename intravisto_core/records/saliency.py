"""How a prediction moves with what the model computed, and with the tokens of its text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError, expected
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import SaliencyMethod, SaliencyReference, Site


@dataclass(frozen=True, repr=False)
class Gradient(Record):
    """The derivative of a logit (difference) with respect to one site of one layer (docs/methods.md §11)."""

    trace: str
    """The trace that it was taken of, by its id."""
    model: str
    """Name of the model."""
    site: Site
    """The site."""
    layer: int
    """Its layer."""
    position: int
    """The position that says the target."""
    target_id: int
    """Token id of the target."""
    contrast_id: int
    """Token id of the contrast; −1 where it is the target's logit alone."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown, "" where there is none."""
    metric: float
    """The target's logit, less the contrast's where there is one."""
    values: Float[Array, "*heads T width"]
    """Logits a unit of the site, (T, width), at `z` (heads, T, d_head); 0 after the position."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def _summary(self) -> tuple[str, ...]:
        return (self.site.value, f"layer {self.layer}", " × ".join(map(str, self.values.shape)), f"of {self.target}")


@dataclass(frozen=True, repr=False)
class Saliency(Record):
    """How much a logit (difference) depends on each of the T tokens of the text (docs/methods.md §11)."""

    trace: str
    """The trace that it was taken of, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    position: int
    """The position that says the target."""
    target_id: int
    """Token id of the target."""
    contrast_id: int
    """Token id of the contrast; −1 where it is the target's logit alone."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown, "" where there is none."""
    method: SaliencyMethod
    """How the scores are measured."""
    scores: Float[Array, " T"]
    """Logits for each token, signed; 0 at positions that are held, and after the position."""
    held: Bool[Array, " T"]
    """Tokens that are not changed by the method, whose score is 0 by definition."""
    metric: float
    """The target's logit, less the contrast's where there is one."""
    noise: float
    """Two steps of the model's data type at the size of these logits: below it nothing is told apart."""
    reference: SaliencyReference | None = None
    """Where integrated gradients begin, else None."""
    metric_reference: float | None = None
    """Of integrated gradients, the metric at the reference, else None."""
    steps: int = 0
    """Of integrated gradients, how many steps the rule has in the end, else 0."""
    completeness_error: float | None = None
    """Of integrated gradients, |Σ scores − Δ| / max(|Δ|, noise), Δ = metric − metric_reference; else None."""
    converged: bool | None = None
    """Whether that is at most 0.001; None for other methods."""
    replaced_by: Int[Array, "T n"] | None = None
    """Of occlusion, ids of the n tokens that were put in each place, −1 where none was; else None."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        shape = (len(self.tokens),)
        check_shapes(self, scores=(self.scores, shape), held=(self.held, shape))
        if not np.isfinite(self.scores).all():
            raise TraceError(expected("Saliency.scores", "finite numbers", "infinity or NaN"))

    @property
    def has_contrast(self) -> bool:
        """Whether the target is held against another token."""
        return self.contrast_id >= 0

    def _summary(self) -> tuple[str, ...]:
        against = f" against {self.contrast}" if self.has_contrast else ""
        return (f"{self.target}{against}", self.method.label, f"{len(self.tokens)} tokens", self.model)
