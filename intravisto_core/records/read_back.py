"""What a vector reads as that an edit puts in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.sites import Lens, NormPolicy, Site


@dataclass(frozen=True, repr=False)
class ReadBack(Record):
    """What stands at n places before and after an edit puts a token's vector there, as the place's lens reads it.

    Nothing is run: each new vector is made from what the unedited run has at its place, and rounded to the model's
    dtype (docs/methods.md §8). It does not tell what the model says then. At `attn_out` and `mlp_out`, whose vectors
    are no states, tokens are those whose logit the vector raises most, and probabilities are NaN.
    """

    trace: str
    """The trace whose vectors are replaced, by its id."""
    edit: str
    """What is put in, and where, in words."""
    site: Site
    """The site of the places."""
    layer: int
    """The layer of the places."""
    lens: Lens
    """The lens that reads them: the one that the vector is made for."""
    norm: NormPolicy
    """Its norm policy."""
    asked: int
    """The token id that was asked for; −1 where the text has several tokens."""
    positions: Int[Array, " n"]
    """The n positions."""
    ids_before: Int[Array, " n"]
    """Top token of what stands there without the edit."""
    probability_before: Float[Array, " n"]
    """Its probability, in [0, 1]."""
    ids: Int[Array, "n k"]
    """Top tokens of the new vector, the first one first."""
    probabilities: Float[Array, "n k"]
    """Their probabilities, in [0, 1]."""
    asked_rank: Int[Array, " n"]
    """Rank of the token that was asked for, 1 is the top; 0 where the text has several tokens."""
    asked_probability: Float[Array, " n"]
    """Its probability, in [0, 1]; NaN where the text has several tokens."""
    shown: Mapping[int, str]
    """Each token id that is listed, as text."""
    notes: tuple[str, ...] = ()
    """What a reader should know, such as that no vector reads back as the token."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        n = self.positions.shape
        names = ("ids_before", "probability_before", "asked_rank", "asked_probability")
        check_shapes(self, **{name: (getattr(self, name), n) for name in names})
        check_shapes(self, probabilities=(self.probabilities, self.ids.shape), ids=(self.ids[:, 0], n))

    def _summary(self) -> tuple[str, ...]:
        if self.asked < 0:
            return (self.edit,)
        return (self.edit, f"reads back at {int(np.sum(self.reads_back))} of {len(self.positions)} positions")

    @property
    def reads_back(self) -> np.ndarray:
        """At which positions the new vector's top token is the one that was asked for, (n,) of bool."""
        return np.asarray(self.asked_rank == 1)
