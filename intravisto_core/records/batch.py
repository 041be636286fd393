"""What a batch of many prompts shows on the whole, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float

from intravisto_core.records.base import Array, Record, check_shapes


@dataclass(frozen=True, repr=False)
class BatchSummary(Record):
    """Means over prompts with 95 % intervals: mean ± 1.96 standard errors, NaN of a single prompt.

    Axis 0 of each array is mean, lower and upper end. What was not asked for has no entries.
    """

    n_prompts: int
    """Prompts that were run."""
    n_failed: int
    """Prompts that ended with an error, which count in no mean."""
    curve: Float[Array, "3 R"]
    """Probability of the token that the model says after the prompt, read by the output lens at each row."""
    heads: Float[Array, "3 L H"]
    """What each head adds to that token's logit, against the mean over the vocabulary."""
    first: Float[Array, "3 L"]
    """Attention to position 0 by layer: the mean over heads and over queries from position 1."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        check_shapes(
            self,
            curve=(self.curve, (3, *self.curve.shape[1:])),
            heads=(self.heads, (3, *self.heads.shape[1:])),
            first=(self.first, (3, *self.first.shape[1:])),
        )

    def _summary(self) -> tuple[str, ...]:
        return (f"{self.n_prompts} prompts", f"{self.n_failed} failed" if self.n_failed else "", self.model)
