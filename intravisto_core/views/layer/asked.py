"""What the views inside a layer are asked: the place, the tokens, and what parts are measured by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from intravisto_core.analysis.attribution import MEAN, Direction, compute_reader, compute_uncapped_logits
from intravisto_core.analysis.layer_readings import Angles
from intravisto_core.request.checks import TokenChoice
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, LayerWidth, TokenOrder
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.pieces import Gauge
from intravisto_core.views.typed_tokens import DefaultContrast, target_and_contrast

PARTS = (Capability.PATTERN, Capability.HEADS, Capability.NEURONS)


class LayerQuestion(Protocol):
    """What all these views have."""

    @property
    def position(self) -> int: ...
    @property
    def target(self) -> TokenChoice: ...
    @property
    def contrast(self) -> TokenChoice: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """Token ids and the position, and the vectors that pulls are products with."""

    position: int
    target: int
    contrast: int
    gauge: Gauge
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        context: ViewContext,
        view: LayerQuestion,
        width: LayerWidth = LayerWidth.SIZE,
        needed: tuple[Capability, ...] = PARTS,
    ) -> Asked:
        """Read a view. needed: the identities that it rests on.

        Raises:
            RequestError: no such position or token, or both tokens are the same.
            ModelError: the model fails an identity that heads or neurons rest on.
        """
        for capability in needed:
            context.card.require(capability)
        model = context.model
        position = index(view.position, context.entry.length, "position")
        final = context.data.final[position]
        raw = final[:0]
        if view.target is None or view.contrast is None:
            raw = context.get_or_make(("logits", position), lambda: compute_uncapped_logits(model, final))
        target, contrast, notes = target_and_contrast(model, raw, view.target, view.contrast, DefaultContrast.RUNNER_UP)
        readers = [compute_reader(model, Direction.of(model, target, other), final) for other in (MEAN, contrast)]
        return cls(position, target, contrast, Gauge(torch.stack(readers), width), (*context.entry.notes, *notes))


def read_layer(context: ViewContext, layer: int) -> int:
    """A layer by its number.

    Raises:
        RequestError: there is none.
    """
    return index(layer, context.model.dimensions.n_layers, "layer")


def read_angles(context: ViewContext, order: TokenOrder) -> Angles:
    """How tokens are put in order, under the output lens."""
    return Angles(context.token_lengths().at(1.0) if order is TokenOrder.ANGLE else None)
