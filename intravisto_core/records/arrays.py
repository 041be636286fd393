"""Shares, and captured or recomputed arrays of one trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, Lens, ModuleSide, NormPolicy, ShareMeasure, Site


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
    model: str = ""
    """Name of the model."""

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
    values: Float[Array, "*heads n width"]
    """(n, width), or (heads, n, width) of all heads; float32. n is T, or the positions of one step."""
    model: str = ""
    """Name of the model."""
    step: int | None = None
    """The step that the positions belong to: 0 the prompt, n what read generated token n − 1; None for all."""

    def _summary(self) -> tuple[str, ...]:
        return (
            self.site.value,
            f"layer {self.layer}",
            "" if self.head is None else f"head {self.head}",
            "" if self.step is None else f"step {self.step}",
            " × ".join(map(str, self.values.shape)),
        )


# An array, or a tuple or list of such things; None where the module gave something that is no tensor.
Values = Any


@dataclass(frozen=True, repr=False)
class ModuleValue(Record):
    """What a module of the model's tree returned, or was given."""

    trace: str
    """The trace that it was read from, by its id; empty where a module was applied outside a run."""
    path: str
    """The module's path in the model's own tree."""
    what: ModuleSide
    """Which side of it."""
    value: Values
    """float32 array without the batch axis, or a nested tuple of them; a list where calls could not be joined (§11)."""

    def arrays(self) -> list[tuple[str, Array]]:
        """Every array with its place: "" where the module gave one tensor, "0", "1.2" inside tuples and lists."""
        return list(_walk(self.value, ""))

    def _summary(self) -> tuple[str, ...]:
        found = self.arrays()
        shapes = [" × ".join(map(str, array.shape)) or "one number" for _, array in found[:4]]
        return (self.path, str(self.what), *shapes, "…" if len(found) > 4 else "")


def _walk(value: Values, place: str) -> Iterator[tuple[str, Array]]:
    if isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from _walk(each, f"{place}.{i}".lstrip("."))
    elif value is not None:
        yield place, value


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
    model: str = ""
    """Name of the model."""

    def _summary(self) -> tuple[str, ...]:
        return (f"layer {self.layer}", f"head {self.head}", f"{len(self.values)} positions")


@dataclass(frozen=True, repr=False)
class Logits(Record):
    """All logits after one position: the model's own, or those of a cell of the heatmap."""

    trace: str
    """The trace that it was read from, by its id."""
    position: int
    """The position in the text whose next token is meant."""
    values: Float[Array, " V"]
    """Logit of each token id, float32; its change of logit where the norm is the stream's."""
    model: str = ""
    """Name of the model."""
    row: int | None = None
    """Heatmap row of the cell; None is the model's own prediction."""
    component: Component = Component.BLOCK
    """Component of the cell."""
    lens: Lens = Lens.OUTPUT
    """The lens that the cell was read by."""
    norm: NormPolicy = NormPolicy.FINAL
    """What was done to the vector before the table."""

    def _summary(self) -> tuple[str, ...]:
        cell = "" if self.row is None else f"{self.component} of row {self.row}, {self.lens} lens, norm {self.norm}"
        return (cell, f"after position {self.position}", f"{len(self.values)} tokens")


@dataclass(frozen=True, repr=False)
class DecodedVectors(Record):
    """How a lens reads vectors that were given to it."""

    lens: Lens
    """The lens that they were read by."""
    norm: NormPolicy
    """What was done to them before the table."""
    row: int
    """The heatmap row that a mixed lens reads them at."""
    token_ids: Int[Array, "n k"]
    """The k most probable tokens of each vector, best first."""
    logits: Float[Array, "n k"]
    """Their logits."""
    probabilities: Float[Array, "n k"]
    """Their probabilities, in [0, 1]."""
    entropy: Float[Array, " n"]
    """Of each vector's distribution over the vocabulary, in nats."""
    shown: Mapping[int, str]
    """Each token id that is listed, as text."""

    def __post_init__(self) -> None:
        shape = self.token_ids.shape
        check_shapes(
            self,
            logits=(self.logits, shape),
            probabilities=(self.probabilities, shape),
            entropy=(self.entropy, shape[:1]),
        )

    def _summary(self) -> tuple[str, ...]:
        return ("{} vectors × {} tokens".format(*self.token_ids.shape), f"{self.lens} lens", f"norm {self.norm}")
