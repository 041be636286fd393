"""Divergences between many pairs of decoded vectors (docs/methods.md §6: KL of a link)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.decoding import sums
from intravisto_core.analysis.lenses import logit_matrix
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel


@dataclass(frozen=True, slots=True)
class Profiles:
    """What a divergence needs of decoded vectors (output lens): with logits z = s(U x̂ + b),

    KL(p ‖ q) = lse(q) − lse(p) − s⟨m(p), x̂(q) − x̂(p)⟩, m(p) = Σ_v p_v U_v: a product over d instead of V.
    log_sum: (n,) lse. mean: (n, d) m. It does not hold under a soft-cap.
    """

    log_sum: Float[Tensor, " n"]
    mean: Float[Tensor, "n d"]


def profiles(model: LoadedModel, x_hat: Float[Tensor, "n d"], z: Float[Tensor, "n V"]) -> Profiles:
    """Profiles of vectors from their logits, which are overwritten."""
    log_sum = sums(z, z.amax(-1)).log_sum
    p = z.sub_(log_sum[:, None].float()).exp_()
    mean = torch.zeros_like(x_hat)
    for start, table in model.weights.chunks("unembed"):
        mean.addmm_(p[:, start : start + len(table)], table)
    return Profiles(log_sum, mean)


def divergences_by_profile(
    model: LoadedModel,
    upper: tuple[Profiles, Float[Tensor, "n d"]],
    lower: tuple[Float[Tensor, " n"], Float[Tensor, "n d"]],
) -> Float[Tensor, " n"]:
    """KL(upper ‖ lower) in nats of n pairs. upper: profiles and x̂; lower: lse and x̂."""
    (profile, x_upper), (log_sum, x_lower) = upper, lower
    apart = torch.linalg.vecdot(profile.mean.double(), (x_lower - x_upper).double())
    return (log_sum - profile.log_sum - model.blueprint.logit_scale * apart).clamp(min=0)


def divergences_by_logits(
    model: LoadedModel, x_hat: Float[Tensor, "n d"], upper: Int[Tensor, " pairs"], lower: Int[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """KL(upper ‖ lower) in nats from the logits themselves, for a model with a soft-cap; n·V·4 bytes are held."""
    z = logit_matrix(model, Projection(x_hat, torch.ones(len(x_hat), device=x_hat.device)))
    found = sums(z, z.amax(-1))
    out = []
    for u, low in zip(upper.split(64), lower.split(64), strict=True):
        p = (z[u] - found.log_sum[u, None].float()).exp()
        out.append(found.log_sum[low] - found.entropy[u] - torch.linalg.vecdot(p, z[low]).double())
    return torch.cat(out).clamp(min=0)
