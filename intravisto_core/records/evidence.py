"""What a test of a claim found: effects over prompts, beside controls (docs/methods.md §9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError, expected
from intravisto_core.records.base import Array, Record, check_shapes, find_figures
from intravisto_core.sites import ControlKind, Effect, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Evidence(Record):
    """A claim held against controls over P prompts (docs/methods.md §9).

    The metric m is the target's logit less the contrast's; Δm is m of the edited run less m of the run as it is. K
    kinds of controls, R draws of each at most. s is 1 where the claim says that the edit raises m, −1 where it lowers.
    """

    trace: str
    """The trace whose prompt the claim was found in, by its id."""
    model: str
    """Name of the model."""
    claim: str
    """The claim as JSON; `from_json` gives it back."""
    edit: str
    """What the edit does, in words."""
    effect: Effect
    """Which way the edit is said to move m."""
    effect_was_given: bool
    """Whether the claim says the way; else it is what the edit does in the trace's own prompt."""
    own_effect: float
    """Δm in the trace's own prompt, logits."""
    verdict: Verdict
    """What the test came to."""
    missing: tuple[str, ...]
    """What is missing for "supported", each in words; none where it is."""
    prompts: tuple[str, ...]
    """The P prompts as text."""
    is_discovery: Bool[Array, " P"]
    """Whether a prompt is the trace's own."""
    target_ids: Int[Array, " P"]
    """Token id of the target in each prompt."""
    contrast_ids: Int[Array, " P"]
    """Token id of the contrast in each prompt."""
    targets: tuple[str, ...]
    """The P targets as shown."""
    contrasts: tuple[str, ...]
    """The P contrasts as shown."""
    metrics: Float[Array, " P"]
    """m of the run as it is, logits."""
    effects: Float[Array, " P"]
    """Δm of the edit, logits; not turned by s."""
    noise: Float[Array, " P"]
    """Noise floor of Δm in each prompt, logits."""
    kinds: tuple[ControlKind, ...]
    """The K kinds of controls that were drawn."""
    draws: Float[Array, "P K R"]
    """Δm of each control, logits; NaN where fewer could be drawn."""
    drawn: Array
    """What each control was, in words, (P, K, R); "" where none was drawn."""
    left_out: tuple[tuple[ControlKind, str], ...]
    """Kinds that cannot apply, each with the reason."""
    control: ControlKind
    """k*, the kind with the largest mean of |Δm|, which the edit is held against."""
    differences: Float[Array, " P"]
    """d = s·Δm less the mean of |Δm| over the draws of k*, logits."""
    interval: tuple[float, float]
    """95 % interval of the mean of d, from 10,000 resamples of the prompts; NaN for one prompt."""
    rank: float
    """(1 + draws of k* with |Δm| ≥ s·Δm of their prompt) / (1 + draws of k*)."""
    n_draws: int
    """Draws of each kind in each prompt that were asked for."""
    seed: int
    """What drew the controls and the resamples."""
    position: int
    """Where m is read, as the claim has it: −1 is the last token of each prompt."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        p, k = (len(self.prompts),), len(self.kinds)
        for name in ("is_discovery", "target_ids", "contrast_ids", "metrics", "effects", "noise", "differences"):
            check_shapes(self, **{name: (getattr(self, name), p)})
        shape = (*p, k, self.draws.shape[-1] if self.draws.ndim else 0)
        check_shapes(self, draws=(self.draws, shape), drawn=(self.drawn, shape))
        if not p[0] or not k or self.control not in self.kinds:
            raise TraceError(expected("Evidence", "a prompt, and its control among its kinds", self.control))
        if len(self.targets) != p[0] or len(self.contrasts) != p[0]:
            raise TraceError(expected("Evidence", f"{p[0]} targets and contrasts", len(self.targets)))

    @property
    def n(self) -> int:
        """How many prompts were tested."""
        return len(self.prompts)

    @property
    def n_new(self) -> int:
        """The same without the prompt that the claim was found in."""
        return self.n - int(self.is_discovery.sum())

    @property
    def noise_floor(self) -> float:
        """The largest noise floor of the prompts, logits."""
        return float(self.noise.max())

    @property
    def mean_effect(self) -> float:
        """Mean of s·Δm over the prompts, logits."""
        return float(self.effect.sign * self.effects.mean())

    @property
    def mean_difference(self) -> float:
        """Mean of d over the prompts, logits."""
        return float(self.differences.mean())

    @property
    def control_means(self) -> Float[np.ndarray, "P K"]:
        """Mean of |Δm| over the draws of each kind in each prompt, logits."""
        found: np.ndarray = np.nanmean(np.abs(self.draws), axis=2)
        return found

    @property
    def sentence(self) -> str:
        """The whole finding in plain words."""
        found: str = find_figures("evidence_words").write_finding(self)
        return found

    def draws_frame(self) -> pd.DataFrame:
        """One row a control: prompt, kind, what was drawn, Δm in logits."""
        found: pd.DataFrame = find_figures("evidence").frame_draws(self)
        return found

    def _summary(self) -> tuple[str, ...]:
        return (str(self.verdict), f"n = {self.n}", f"{self.n_new} new", self.model)
