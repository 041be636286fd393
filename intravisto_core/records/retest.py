"""A published finding that was tested again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intravisto_core.records.base import Record, find_figures
from intravisto_core.records.evidence import Evidence
from intravisto_core.sites import Verdict


@dataclass(frozen=True, repr=False)
class Retest(Record):
    """A published finding tested once more, here or on another model."""

    trace: str
    """The trace of the new test, by its id."""
    model: str
    """Name of the model that it was tested on now."""
    same_model: bool
    """Whether that is the model of the finding: the same weights and the same tokenizer."""
    same_prompts: bool
    """Whether the prompts are those of the finding."""
    before: Evidence
    """What the file holds."""
    now: Evidence
    """What came out now."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    @property
    def holds(self) -> bool:
        """Whether the claim is supported now, in the direction that the finding has."""
        return self.now.verdict is Verdict.SUPPORTED and self.now.effect is self.before.effect

    @property
    def largest_change(self) -> float:
        """Largest difference between an effect before and now, in logits; NaN where model or prompts are others."""
        if not (self.same_model and self.same_prompts):
            return float("nan")
        return float(np.abs(self.now.effects - self.before.effects).max())

    @property
    def sentence(self) -> str:
        """Whether the claim still holds, in plain words."""
        found: str = find_figures("evidence_words").write_retest(self)
        return found

    def _summary(self) -> tuple[str, ...]:
        return ("holds" if self.holds else "does not hold", f"n = {self.now.n}", self.model)
