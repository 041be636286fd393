"""How much each part counts in a junction's sum (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.errors import RequestError
from intravisto_core.sites import ShareMeasure

Parts = Float[Tensor, "part n d"]
Raw = Float[Tensor, "part n"]
Logits = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n V"]]

SMALLEST = 1e-6


def measure_shares(parts: Parts, measure: ShareMeasure, logits: Logits) -> Raw:
    """The share of each part of `Σ parts`, for n junctions; NaN where undefined.

    logits: the output lens with the final norm, asked only by the KL measures.

    Raises:
        RequestError: KL pair at a junction of more than two parts.
    """
    parts = parts.float()
    whole = parts.sum(0)
    if measure is ShareMeasure.NORM:
        raw = parts.norm(dim=-1)
        return normalise_shares(raw, raw.sum(0).median().expand_as(raw[0]))
    if measure is ShareMeasure.PROJECTION:
        square = whole.square().sum(-1)
        size = parts.square().sum((0, -1))
        share = (parts * whole).sum(-1) / square
        return share.masked_fill(square <= SMALLEST * size, torch.nan)
    if measure is ShareMeasure.L1:
        length = whole.abs().sum(-1)
        raw = (length - (whole - parts).abs().sum(-1)).clamp(min=0)
        return normalise_shares(raw, length + parts.abs().sum((0, -1)))
    if measure is ShareMeasure.KL_PAIR and len(parts) != 2:
        raise RequestError(
            "measure: the KL pair compares two parts; a parallel block has three at one junction, and so may an "
            "edited one. Choose KL"
        )
    others = parts.flip(0) if measure is ShareMeasure.KL_PAIR else whole - parts
    raw = compute_divergences(whole, others, logits)
    return normalise_shares(raw, torch.ones_like(raw[0]))


def normalise_shares(raw: Raw, scale: Float[Tensor, " n"]) -> Raw:
    """Raw values ≥ 0 over their sum; undefined where the sum is below 1e-6 of its scale."""
    total = raw.sum(0)
    return (raw / total).masked_fill((total <= SMALLEST * scale) | (total <= 0), torch.nan)


def compute_divergences(whole: Float[Tensor, "n d"], others: Parts, logits: Logits) -> Raw:
    """KL(lens(whole) ‖ lens(other)) in nats for each of the others."""
    z = logits(whole)
    found = torch.stack([compute_divergence(z, logits(other)).float() for other in others])
    zero_part = (others - whole).abs().amax(-1) == 0
    return found.masked_fill(zero_part, 0.0)
