"""Attention weights: any slice of all heads, and all rows of one head by their larger keys."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.errors import RequestError, expected
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import AttentionDivision, SinkHandling

MEAN_HEAD = -1
MEAN_LAYER = -1
LISTED = 8


@dataclass(frozen=True, repr=False)
class Attention(Record):
    """How strongly queries look at keys, N heads × Q queries × K keys (docs/methods.md §5).

    With all keys asked for, and none hidden or renormalised, a row sums to 1 less `learned`.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    heads: tuple[tuple[int, int], ...]
    """(layer, head) along the first axis; head −1 is the mean of all heads of the layer."""
    queries: Int[Array, " Q"]
    """Positions that look."""
    keys: Int[Array, " K"]
    """Positions that are looked at."""
    weights: Float[Array, "N Q K"]
    """float32; 0 where a query does not see a key. Signed under the projection."""
    hidden: Float[Array, "N Q"]
    """What of a row went to sinks that are hidden, before anything was renormalised; 0 where sinks are shown."""
    learned: Float[Array, "N Q"]
    """What of a row learned sinks take, under the weights; exactly 0 in a model without them."""
    strength: AttentionDivision = AttentionDivision.WEIGHTS
    """What the numbers are."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done with attention to sinks."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        rows = (len(self.heads), len(self.queries))
        check_shapes(self, weights=(self.weights, (*rows, len(self.keys))))
        check_shapes(self, hidden=(self.hidden, rows), learned=(self.learned, rows))

    def _summary(self) -> tuple[str, ...]:
        shape = " × ".join(
            f"{n} {what}" for n, what in zip(self.weights.shape, ("heads", "queries", "keys"), strict=True)
        )
        return (shape, self.strength.label, self.model)


@dataclass(frozen=True, repr=False)
class SparseAttention(Record):
    """All T rows of one head, or of a mean, by their E larger entries (docs/methods.md §5).

    The keys of query i are `keys[starts[i]:starts[i + 1]]` in order, with their `weights`; what looks at key j are the
    queries in whose stretch it stands.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    layer: int
    """The layer; −1 is the mean over all layers."""
    heads: tuple[int, ...]
    """The heads whose mean it is; one of one head."""
    least: float
    """Of what sinks leave of a row, the share that a kept entry has at least."""
    starts: Int[Array, " T1"]
    """Where each row begins among the entries, T + 1 numbers."""
    keys: Int[Array, " E"]
    """Position of each entry's key."""
    weights: Float[Array, " E"]
    """float32; signed under the projection."""
    rest: Float[Array, " T"]
    """Sum of the entries of a row that are not kept."""
    hidden: Float[Array, " T"]
    """What of a row went to sinks that are hidden, before anything was renormalised; 0 where sinks are shown."""
    learned: Float[Array, " T"]
    """What of a row learned sinks take, under the weights; exactly 0 in a model without them."""
    strength: AttentionDivision = AttentionDivision.WEIGHTS
    """What the numbers are."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done with attention to sinks."""
    on_sinks: Float[Array, " T"] | None = None
    """What of a row goes to sinks, hidden or not, before anything was renormalised; None where it was not asked for."""
    sink_keys: Int[Array, " S"] | None = None
    """Positions of the layer's sinks that are shown here; None where it was not asked for, or of several layers."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        rows = (len(self.tokens),)
        check_shapes(self, starts=(self.starts, (rows[0] + 1,)), keys=(self.keys, self.weights.shape))
        check_shapes(self, rest=(self.rest, rows), hidden=(self.hidden, rows), learned=(self.learned, rows))
        check_shapes(self, on_sinks=(self.on_sinks, rows))

    @property
    def name(self) -> str:
        """The head, or the mean, as it is named: `L3H1`."""
        layer = "all layers" if self.layer == MEAN_LAYER else f"L{self.layer}"
        if self.layer != MEAN_LAYER and len(self.heads) == 1:
            return f"{layer}H{self.heads[0]}"
        listed = ", ".join(map(str, self.heads)) if len(self.heads) <= LISTED else f"{len(self.heads)} in all"
        return f"{layer}, mean of heads {listed}"

    def row(self, query: int) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
        """What a query looks at: keys and weights."""
        at = slice(int(self.starts[query]), int(self.starts[query + 1]))
        return self.keys[at], self.weights[at]

    def without_sinks(self) -> SparseAttention:
        """The same rows with sinks hidden, as another request would give them.

        Raises:
            RequestError: the rows were not asked for with `mark_sinks`, or are the mean of several layers.
        """
        if self.on_sinks is None or self.sink_keys is None:
            wanted = "rows of one layer that show sinks, asked for with mark_sinks=True"
            raise RequestError(expected("without_sinks", wanted, self.name))
        length = len(self.tokens)
        query = np.repeat(np.arange(length), np.diff(self.starts))
        sunk = np.isin(self.keys, self.sink_keys)
        small = self.on_sinks - np.bincount(query[sunk], self.weights[sunk], length)  # of sinks without an entry
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(np.bincount(query[~sunk], minlength=length))]).astype(np.int32),
            keys=self.keys[~sunk],
            weights=self.weights[~sunk],
            rest=(self.rest - small).astype(np.float32),
            hidden=self.on_sinks,
            sinks=SinkHandling.HIDE,
            sink_keys=None,
        )

    def column(self, key: int) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
        """What looks at a key: queries and weights."""
        at = np.flatnonzero(self.keys == key)
        return np.searchsorted(self.starts, at, side="right") - 1, self.weights[at]

    def _summary(self) -> tuple[str, ...]:
        return (self.name, f"{len(self.keys)} entries of {len(self.tokens)} rows", self.strength.label, self.model)
