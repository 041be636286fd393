"""Attention sinks: positions that heads attend to when they have nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token


@dataclass(frozen=True, repr=False)
class Sinks(Record):
    """The attention sinks of each layer, and what decided (docs/methods.md §5).

    `for layer, positions in sinks:` goes over the layers that have some. A key of a layer is a sink where `weight` is
    at least `least` and, but for position 0, `size` is below .45. With fewer than five queries at least 4 positions
    later nothing is decided, and the key is none.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    is_sink: Bool[Array, "L T"]
    """Which key of which layer is a sink."""
    weight: Float[Array, "L T"]
    """Mean weight over heads and queries at least 4 later; NaN where there is no such query."""
    least: Float[Array, "L T"]
    """The weight that a sink has at least."""
    size: Float[Array, "L T"]
    """What the key brings, mean over heads of ‖v W_O‖, over the median key's; NaN where heads cannot be told apart."""
    n_queries: Int[Array, "L T"]
    """How many queries at least 4 later see the key."""
    taken: Float[Array, " L"]
    """Share of all attention, a mean over heads and queries from 1 on, that a layer's sinks take; learned ones not."""
    first: Float[Array, "L H"]
    """Share of position 0 for each head, a mean over queries from 1 on; NaN in a text of one position."""
    learned: Float[Array, "L H"]
    """Share of each head's learned sink, a mean over queries from 1 on; NaN in a text of one position."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        shape = self.is_sink.shape
        check_shapes(self, **{n: (getattr(self, n), shape) for n in ("weight", "least", "size", "n_queries")})
        check_shapes(self, taken=(self.taken, shape[:1]), learned=(self.learned, self.first.shape))

    def _summary(self) -> tuple[str, ...]:
        where = ", ".join(map(str, self.found)) or "none"
        return (f"positions {where}", f"{np.nanmean(self.taken):.0%} of attention" if self.found else "", self.model)

    def __iter__(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        return ((layer, at) for layer, at in enumerate(self.positions) if at)

    @property
    def positions(self) -> tuple[tuple[int, ...], ...]:
        """The sinks of each of the L layers."""
        return tuple(tuple(np.flatnonzero(row).tolist()) for row in self.is_sink)

    @property
    def found(self) -> tuple[int, ...]:
        """Positions that are a sink in some layer."""
        return tuple(np.flatnonzero(self.is_sink.any(0)).tolist())

    @property
    def share(self) -> float:
        """The mean of `taken` over all layers."""
        return float(self.taken.mean())
