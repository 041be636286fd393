"""Parts of what one layer writes at one position, and what they are measured by (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.sites import Lane, LayerPart, LayerWidth


@dataclass(slots=True)
class Piece:
    """One part of what a layer writes. vector: (d,) float32, through post-norm and multiplier."""

    kind: LayerPart
    lane: Lane
    vector: Float[Tensor, " d"]
    index: int = -1
    expert: int = -1
    count: int = 1
    act: float = nan
    weight: float = nan

    @property
    def nested(self) -> bool:
        """Whether it lies inside the part of an expert."""
        return self.expert >= 0 and self.kind is not LayerPart.EXPERT


@dataclass(slots=True)
class LaneParts:
    """The parts of one lane, those with rows of their own first. sizes: of all single heads or neurons.

    total: (d,) what the lane brings to the stream: the sum of its parts. rounding: what the stream has besides.
    """

    pieces: list[Piece] = field(default_factory=list)
    sizes: Tensor = field(default_factory=lambda: torch.zeros(0))
    total: Tensor = field(default_factory=lambda: torch.zeros(0))
    rounding: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(frozen=True, slots=True)
class Gauge:
    """What parts are measured by. readers: (2, d) of pull and versus, see `compute_reader`. width: what orders rows."""

    readers: Float[Tensor, "2 d"]
    width: LayerWidth

    def pulls(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
        """Pull and versus of vectors, float64."""
        return vectors.double() @ self.readers.double().T

    def choose(self, sizes: Tensor, pulls: Float[Tensor, "n 2"], n: int) -> list[int]:
        """The n parts whose measure is largest, the largest first."""
        column = {LayerWidth.PULL: 0, LayerWidth.VERSUS: 1}.get(self.width)
        measure = sizes if column is None else pulls[:, column].abs()
        return measure.topk(min(n, len(measure))).indices.tolist()
