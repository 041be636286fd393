"""Shares, and captured or recomputed arrays of one trace."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import ShareMeasure, Site


@dataclass(frozen=True, repr=False)
class Shares(Record):
    """How much attention and MLP count where they join the stream (docs/methods.md §5); NaN where undefined.

    In a serial block attention's share is of `resid_mid`, the MLP's of `resid_post`; in a parallel block both are of
    `resid_post`. All are in [0, 1] unless the measure is signed.
    """

    trace: str
    """The trace that it was read from, by its id."""
    measure: ShareMeasure
    """How they are measured."""
    block: str
    """ "serial" or "parallel": how attention and MLP of a block are wired."""
    attention: Float[Array, "L T"]
    """Attention's share."""
    mlp: Float[Array, "L T"]
    """The MLP's share."""
    residual_attention: Float[Array, "L T"]
    """What is left for the stream where attention joins."""
    residual_mlp: Float[Array, "L T"]
    """What is left for the stream where the MLP joins; equal to the other in a parallel block."""
    tokens: tuple[Token, ...] = ()
    """All T tokens of the text, prompt first."""
    intervention_attention: Float[Array, "L T"] | None = None
    """Of an edited trace, what an edit wrote where attention joins, 0 without one; else None."""
    intervention_mlp: Float[Array, "L T"] | None = None
    """The same where the MLP joins."""

    def __post_init__(self) -> None:
        shape = self.attention.shape
        names = ("mlp", "residual_attention", "residual_mlp", "intervention_attention", "intervention_mlp")
        check_shapes(self, **{n: (getattr(self, n), shape) for n in names})

    def _summary(self) -> tuple[str, ...]:
        return (
            f"{self.attention.shape[0]} layers × {self.attention.shape[1]} positions",
            f"measure {self.measure.value}",
            self.block,
        )


@dataclass(frozen=True, repr=False)
class Activation(Record):
    """Captured values of one site."""

    trace: str
    """The trace that it was read from, by its id."""
    site: Site
    """The site that was captured."""
    layer: int
    """Its layer."""
    head: int | None
    """Its head, or None for all heads or a site without heads."""
    values: Float[Array, "*heads T width"]
    """(T, width), or (heads, T, width) of all heads; float32."""

    def _summary(self) -> tuple[str, ...]:
        return (
            self.site.value,
            f"layer {self.layer}",
            "" if self.head is None else f"head {self.head}",
            " × ".join(map(str, self.values.shape)),
        )


@dataclass(frozen=True, repr=False)
class Pattern(Record):
    """Attention of one head."""

    trace: str
    """The trace that it was read from, by its id."""
    layer: int
    """The head's layer."""
    head: int
    """Its number in the layer."""
    values: Float[Array, "T T"]
    """Attention of each query to each key; rows sum to 1, to less with learned sinks."""
    tokens: tuple[Token, ...] = ()
    """All T tokens of the text, prompt first."""

    def _summary(self) -> tuple[str, ...]:
        return (f"layer {self.layer}", f"head {self.head}", f"{len(self.values)} positions")


@dataclass(frozen=True, repr=False)
class AttentionSink(Record):
    """Attention that goes to position 0 and to learned sinks (docs/methods.md §5).

    Shares in [0, 1], means over the positions from 1 on; NaN in a text of one position.
    """

    trace: str
    """The trace that it was read from, by its id."""
    first: Float[Array, "L H"]
    """Share of position 0, of each layer and head."""
    learned: Float[Array, "L H"]
    """Share of the learned sinks, of each layer and head."""

    def __post_init__(self) -> None:
        check_shapes(self, learned=(self.learned, self.first.shape))

    def _summary(self) -> tuple[str, ...]:
        return ("{} layers × {} heads".format(*self.first.shape),)

    @property
    def share(self) -> float:
        """The mean over layers and heads of what goes to position 0."""
        return float(self.first.mean())


@dataclass(frozen=True, repr=False)
class Logits(Record):
    """The model's own logits after one position."""

    trace: str
    """The trace that it was read from, by its id."""
    position: int
    """The position in the text whose next token is meant."""
    values: Float[Array, " V"]
    """Logit of each token id, float32."""

    def _summary(self) -> tuple[str, ...]:
        return (f"after position {self.position}", f"{len(self.values)} tokens")
