"""Why a head looks there: a score, split into parts of the stream at both ends, and what it is without one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import ScoreEnd


@dataclass(frozen=True, repr=False)
class AttentionScore(Record):
    """A score of a head before its softmax, as (part at the query) × (part at the key); methods §7.

    `total` is the sum of `matrix` and of `added`. Parts: "embedding", "L3H1" (what a head wrote), "L3 MLP", "L3
    attention bias", "edits", biases on the way ("norm bias", "query bias", "key bias", …), "others".
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    layer: int
    """Layer of the head."""
    head: int
    """The head."""
    query: int
    """The position that looks."""
    key: int
    """The position that is looked at."""
    against: str
    """What is taken off: "mean" or "weighted" of the query's other keys, "key" (see `against_key`), or "none"."""
    against_key: int
    """The position whose score is taken off, else −1."""
    query_parts: tuple[str, ...]
    """Names of the A parts at the query."""
    key_parts: tuple[str, ...]
    """Names of the B parts at the key."""
    matrix: Float[Array, "A B"]
    """Each pair's part of the score, float64."""
    added: Mapping[str, float]
    """What is no product: "soft_cap", "alibi", and "remainder", which is rounding."""
    total: float
    """`score` less `reference`."""
    score: float
    """The score of this key as the model had it, before the softmax."""
    reference: float
    """What is taken off; 0 where nothing is."""
    weight: float
    """The attention of the query to the key."""
    scores: Float[Array, " T"]
    """Of every key of this query, NaN where the query does not see it."""
    query_predicted: Float[Array, " A"]
    """The weight by the split, with each part of the query taken off every score of the row."""
    query_measured: Float[Array, " A"]
    """The weight with q computed anew from the stream without the part, norms free; NaN of parts that are no stream."""
    key_predicted: Float[Array, " B"]
    """The weight by the split, with each part of the key taken off this key's score alone."""
    key_measured: Float[Array, " B"]
    """The weight with this key alone computed anew without the part, norms free; NaN of parts that are no stream."""
    error: float
    """How far q and k rebuilt from their parts are from those of the run, over their lengths; the larger of both."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        a, b = len(self.query_parts), len(self.key_parts)
        check_shapes(self, matrix=(self.matrix, (a, b)), scores=(self.scores, (len(self.tokens),)))
        check_shapes(self, query_predicted=(self.query_predicted, (a,)), query_measured=(self.query_measured, (a,)))
        check_shapes(self, key_predicted=(self.key_predicted, (b,)), key_measured=(self.key_measured, (b,)))

    def _summary(self) -> tuple[str, ...]:
        return (f"L{self.layer}H{self.head}", f"{self.query} → {self.key}", f"{self.total:.2f}", self.model)


@dataclass(frozen=True, repr=False)
class AttentionCut(Record):
    """The weight of a key without one part of the stream, in three ways (docs/methods.md §7)."""

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    layer: int
    """Layer of the head."""
    head: int
    """The head."""
    query: int
    """The position that looks."""
    key: int
    """The position that is looked at."""
    part: str
    """The part that is taken away, as `AttentionScore` names it."""
    end: ScoreEnd
    """The end that it is taken from."""
    weight: float
    """The weight as it was."""
    predicted: float
    """By the split, norms frozen: for this head alone."""
    measured: float | None
    """From the stream without the part, norms free: for this head alone; None of a part that is no stream."""
    total: float | None
    """With the part ablated at that position for all that read it; None of a part that no edit can take away."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def _summary(self) -> tuple[str, ...]:
        return (f"L{self.layer}H{self.head}", f"{self.query} → {self.key}", f"without {self.part}", self.model)
