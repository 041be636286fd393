"""How well what pictures show foretells what edits do (docs/methods.md §9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from intravisto_core.errors import TraceError, expected
from intravisto_core.records.base import Array, Record, check_shapes


@dataclass(frozen=True, repr=False)
class MeasureTest(Record):
    """N predictors of which tokens count, held against K truths, over P prompts (docs/methods.md §9).

    Each number is of one prompt: Spearman's correlation over its tokens, position 0 aside, of what a predictor gives a
    token with how far the prediction falls (its log-probability) by an edit of that token. NaN where a predictor gives
    all tokens the same.
    """

    model: str
    """Name of the model."""
    prompts: tuple[str, ...]
    """The P prompts as text."""
    predictors: tuple[str, ...]
    """What foretells: `position` (later tokens matter more), `contribution`, `gradient_input`, or a flow."""
    truths: tuple[str, ...]
    """What edits do: `resample` (other tokens in the place) and `knock_out` (hidden from the last position)."""
    agreement: Float[Array, "P N K"]
    """Spearman's correlation over the tokens from position 1 to the last."""
    interval: Float[Array, "2 N K"]
    """95 % interval of its mean over the prompts that have a number; NaN where one or none has."""
    inner: Float[Array, "P N K"]
    """The same without the last position."""
    partial: Float[Array, "P N K"]
    """The first with position partialled out; NaN of the predictor `position`."""
    top: Float[Array, "P N K"]
    """1 where the inner token with the largest number is the one whose edit lowers the prediction most, else 0."""
    heads: Float[Array, " P"]
    """Spearman's, over all heads, of direct logit attribution with how far the prediction falls without the head."""
    draws: int
    """Tokens that were put in each place for `resample`."""
    seed: int
    """What drew them."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        shape = (len(self.prompts), len(self.predictors), len(self.truths))
        for name in ("agreement", "inner", "partial", "top"):
            check_shapes(self, **{name: (getattr(self, name), shape)})
        check_shapes(self, interval=(self.interval, (2, *shape[1:])))
        check_shapes(self, heads=(self.heads, shape[:1]))
        if not all(shape):
            raise TraceError(expected("MeasureTest", "a prompt, a predictor and a truth", shape))

    def mean(self, name: str = "agreement") -> Float[np.ndarray, "N K"]:
        """The mean over the prompts of `agreement`, `inner`, `partial` or `top`, those aside that have none."""
        values = getattr(self, name)
        n = (~np.isnan(values)).sum(0)
        return np.where(n > 0, np.nansum(values, axis=0) / np.maximum(n, 1), np.nan)

    def _summary(self) -> tuple[str, ...]:
        return (f"{len(self.prompts)} prompts", f"{len(self.predictors)} predictors", self.model)
