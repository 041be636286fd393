"""Shares, and captured or recomputed arrays of one trace."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import ShareMeasure, Site


@dataclass(frozen=True)
class Shares(Record):
    """How much attention and MLP count where they join the stream (docs/methods.md §5).

    attention, mlp: (L, T), in [0, 1] unless the measure is signed; NaN where undefined. In a serial block attention's
    share is of `resid_mid`, the MLP's of `resid_post`; in a parallel block both are of `resid_post`.
    residual_attention, residual_mlp: what is left for the stream at the same junctions (equal in a parallel block).
    intervention_attention, intervention_mlp: of an edited trace, what an edit put there, 0 without one; else None.
    """

    trace: str
    measure: ShareMeasure
    block: str
    attention: Float[Array, "L T"]
    mlp: Float[Array, "L T"]
    residual_attention: Float[Array, "L T"]
    residual_mlp: Float[Array, "L T"]
    tokens: tuple[Token, ...] = ()
    intervention_attention: Float[Array, "L T"] | None = None
    intervention_mlp: Float[Array, "L T"] | None = None

    def __post_init__(self) -> None:
        shape = self.attention.shape
        names = ("mlp", "residual_attention", "residual_mlp", "intervention_attention", "intervention_mlp")
        check_shapes(self, **{n: (getattr(self, n), shape) for n in names})


@dataclass(frozen=True)
class Activation(Record):
    """Captured values of one site: (T, width), or (heads, T, width) of a site with heads; float32."""

    trace: str
    site: Site
    layer: int
    head: int | None
    values: Float[Array, "*heads T width"]


@dataclass(frozen=True)
class Pattern(Record):
    """Attention of one head: (T query, T key), rows sum to 1 (less with learned sinks)."""

    trace: str
    layer: int
    head: int
    values: Float[Array, "T T"]
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class AttentionSink(Record):
    """Attention that goes to position 0 and to learned sinks (docs/methods.md §5).

    first, learned: (L, H) shares in [0, 1], means over the positions from 1 on; NaN in a text of one position.
    """

    trace: str
    first: Float[Array, "L H"]
    learned: Float[Array, "L H"]

    def __post_init__(self) -> None:
        check_shapes(self, learned=(self.learned, self.first.shape))

    @property
    def share(self) -> float:
        """The mean over layers and heads of what goes to position 0."""
        return float(self.first.mean())


@dataclass(frozen=True)
class Logits(Record):
    """The model's own logits after one position: (V,), float32."""

    trace: str
    position: int
    values: Float[Array, " V"]
