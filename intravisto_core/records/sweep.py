"""What a sweep of ablations shows: which parts an answer needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.sites import Ablation, Site


@dataclass(frozen=True, repr=False)
class SweepGrid(Record):
    """A run without each part (docs/methods.md §8): L layers × C heads, or one column of attentions or MLPs.

    n prompts. m is the target's logit less the contrast's, after the last position. A cell that was not run is NaN.
    """

    model: str
    """Name of the model."""
    n_layers: int
    """How many layers the model has."""
    what: Site
    """Which parts are taken away: `z`, `attn_out` or `mlp_out`."""
    how: Ablation
    """What takes their place: zero, or their mean over the text."""
    where: str
    """The positions at which they are taken away, in words."""
    prompts: tuple[str, ...]
    """The n prompts."""
    layers: Int[Array, " L"]
    """Layers, rising."""
    heads: Int[Array, " C"] | None
    """The heads that are the columns; None where there is one column."""
    metrics: Float[Array, " n"]
    """m of each prompt as it is, logits."""
    effects: Float[Array, "n L C"]
    """m without the part less m as it is, for each prompt, logits; NaN where not run."""
    noise_floors: Float[Array, " n"]
    """Of each prompt, the size up to which a change of m says nothing, logits."""
    targets: tuple[int, ...]
    """Id of the target in each prompt."""
    contrasts: tuple[int, ...]
    """Id of the contrast in each prompt."""
    shown: Mapping[int, str]
    """Targets and contrasts as text, by id."""
    interval: Float[Array, "2 L C"] | None = None
    """95 % of the mean effect, by resampling prompts; None for fewer than two."""
    cancelled: bool = False
    """Whether it was stopped before its end."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        n, columns = len(self.prompts), 1 if self.heads is None else len(self.heads)
        shape = (len(self.layers), columns)
        each = {name: (getattr(self, name), (n,)) for name in ("metrics", "noise_floors")}
        check_shapes(self, effects=(self.effects, (n, *shape)), interval=(self.interval, (2, *shape)), **each)
        if len(self.targets) != n or len(self.contrasts) != n:
            raise TraceError(f"SweepGrid.targets: expected {n}, one for each prompt; got {len(self.targets)}")

    @property
    def effect(self) -> Float[Array, "L C"]:
        """m without the part less m as it is, a mean over prompts, logits."""
        return self.effects.mean(0)

    @property
    def noise_floor(self) -> float:
        """A smaller effect says nothing, logits; the largest over prompts."""
        return float(self.noise_floors.max())

    @property
    def counts(self) -> Bool[Array, "L C"]:
        """Cells whose mean effect is above the noise floor."""
        return np.abs(np.nan_to_num(self.effect)) > self.noise_floor

    def _summary(self) -> tuple[str, ...]:
        columns = "1 column" if self.heads is None else f"{len(self.heads)} heads"
        prompts = "" if len(self.prompts) == 1 else f"{len(self.prompts)} prompts"
        return (f"{self.what.value}: {len(self.layers)} layers × {columns}", self.how.value, prompts, self.model)
