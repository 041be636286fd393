"""What heads do: on a text, on random tokens that are said twice, and by their weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import HeadTarget, SinkHandling


@dataclass(frozen=True, repr=False)
class HeadTargets(Record):
    """What every head looks at on this text (docs/methods.md §7). L layers, H heads, C classes.

    All numbers are means over queries from 1 on; NaN in a text of one position.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    classes: tuple[HeadTarget, ...]
    """The kinds of keys along the last axis; the first that fits counts."""
    shares: Float[Array, "L H C"]
    """float32; what a head gives to each kind, which sums to 1. Learned sinks count among the sinks."""
    learned: Float[Array, "L H"]
    """What of a head's attention its learned sink takes; exactly 0 in a model without them."""
    entropy: Float[Array, "L H"]
    """Nats, of the attention to all keys and the learned sink; 0 is one key."""
    distance: Float[Array, "L H"]
    """How far back it looks, in positions: the mean of i − j over keys that are no sinks; NaN without such keys."""
    sink_positions: tuple[tuple[int, ...], ...]
    """The positions that counted as sinks, of each layer."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        size = self.shares.shape[:2]
        check_shapes(self, shares=(self.shares, (*size, len(self.classes))))
        check_shapes(self, **{n: (getattr(self, n), size) for n in ("learned", "entropy", "distance")})

    def share(self, target: HeadTarget | str) -> Float[Array, "L H"]:
        """What every head gives to one kind of keys."""
        return self.shares[..., self.classes.index(HeadTarget.parse(target, "target"))]

    def _summary(self) -> tuple[str, ...]:
        mean = self.shares.mean((0, 1))
        first = ", ".join(f"{c.label} {v:.0%}" for c, v in zip(self.classes, mean, strict=True) if np.isfinite(v))
        return (" × ".join(map(str, self.shares.shape[:2])) + " heads", first, self.model)


@dataclass(frozen=True, repr=False)
class HeadPatterns(Record):
    """A small picture of every head's attention: n × n fields, queries down, keys across.

    A field is the mean over its queries of what they give to all its keys together. As a number from 0 to 255: 0 below
    1e-4, else `1 + 254·(log10 w + 4)/4`, rounded; a step is 3.7 %.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    bounds: Int[Array, " n1"]
    """Field f holds the positions from `bounds[f]` up to, not with, `bounds[f + 1]`."""
    pictures: UInt8[Array, "L H n n"]
    """One byte a field."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done with attention to sinks."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        n = len(self.bounds) - 1
        check_shapes(self, pictures=(self.pictures, (*self.pictures.shape[:2], n, n)))

    @property
    def values(self) -> Float[Array, "L H n n"]:
        """The fields as shares of attention, float32."""
        coded = self.pictures.astype(np.float32)
        found: Array = np.where(coded == 0, 0, 10.0 ** ((coded - 1) * (4 / 254) - 4)).astype(np.float32)
        return found

    def _summary(self) -> tuple[str, ...]:
        layers, heads, n, _ = self.pictures.shape
        return (f"{layers} × {heads} heads", f"{n} × {n} fields", self.model)


@dataclass(frozen=True, repr=False)
class HeadTypes(Record):
    """What every head does on random tokens that are said twice, and by its weights (docs/methods.md §7).

    Means over texts and queries, from 0 to 1: of all queries from 1 on (`previous, first, entropy`), or of the second
    time that the tokens are said (`duplicate, induction`).
    """

    model: str
    """Name of the model."""
    n_tokens: int
    """How many random tokens are said twice."""
    n_texts: int
    """Over how many texts the means are."""
    seed: int
    """What drew the tokens."""
    previous: Float[Array, "L H"]
    """Attention to the token before."""
    duplicate: Float[Array, "L H"]
    """Attention to the same token, where it was said first."""
    induction: Float[Array, "L H"]
    """Attention to the token that came after the same token."""
    copying: Float[Array, "L H"]
    """Whether what it moves makes the same token likelier: Σ Re λ / Σ |λ| of its OV on the vocabulary, −1 to 1."""
    first: Float[Array, "L H"]
    """Attention to position 0."""
    entropy: Float[Array, "L H"]
    """Nats, of the attention to all keys and the learned sink."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        names = ("duplicate", "induction", "copying", "first", "entropy")
        check_shapes(self, **{n: (getattr(self, n), self.previous.shape) for n in names})

    def _summary(self) -> tuple[str, ...]:
        def best(name: str) -> str:
            values = getattr(self, name)
            layer, head = np.unravel_index(int(np.nanargmax(values)), values.shape)
            return f"{name} L{layer}H{head} {values[layer, head]:.2f}"

        return (*map(best, ("previous", "duplicate", "induction")), self.model)


@dataclass(frozen=True, repr=False)
class HeadComposition(Record):
    """How far one head can read what each head below it writes, by their weights alone (docs/methods.md §7).

    `‖A B‖ / (‖A‖ ‖B‖)` by Frobenius norms, less `chance`: B is what the lower head writes, A how the head reads it.
    """

    model: str
    """Name of the model."""
    layer: int
    """Layer of the head that reads."""
    head: int
    """The head that reads."""
    q: Float[Array, "l H"]
    """By its queries; (layer, head) of those that write."""
    k: Float[Array, "l H"]
    """By its keys."""
    v: Float[Array, "l H"]
    """By its values."""
    chance: float
    """What matrices have that are turned at random; it is taken off."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        check_shapes(self, k=(self.k, self.q.shape), v=(self.v, self.q.shape))

    def _summary(self) -> tuple[str, ...]:
        return (f"L{self.layer}H{self.head}", f"{self.q.size} heads below", self.model)
