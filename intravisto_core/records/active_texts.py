"""One neuron or feature over several texts."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float

from intravisto_core.records.base import Array, Record, Summarised
from intravisto_core.records.model import Token


@dataclass(frozen=True, repr=False)
class ActiveText(Summarised):
    """A text of T tokens, and how active the neuron or feature is at each."""

    number: int
    """Which of the texts that were given it is, from 0."""
    tokens: tuple[Token, ...]
    """All T tokens, BOS included."""
    activation: Float[Array, " T"]
    """At each position; NaN where the neuron's expert was not chosen."""
    largest: float
    """The largest size of it, with its sign; of positions from 1 on, since position 0 has values of its own kind."""
    position: int
    """Where that is; −1 where it was computed nowhere."""

    def __len__(self) -> int:
        return len(self.tokens)

    def _summary(self) -> tuple[str, ...]:
        return (f"text {self.number}", f"{len(self)} tokens", f"at most {self.largest:.3g}")


@dataclass(frozen=True, repr=False)
class ActiveTexts(Record):
    """One neuron or feature over several texts, those where it is most active first (docs/methods.md §7)."""

    model: str
    """Name of the model."""
    part: str
    """Which neuron or feature it is, in words."""
    layer: int
    """Its layer, from 0."""
    texts: tuple[ActiveText, ...]
    """The texts, by the size of their largest activation."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __len__(self) -> int:
        return len(self.texts)

    def _summary(self) -> tuple[str, ...]:
        return (self.part, f"{len(self)} texts", self.model)
