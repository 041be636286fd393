"""Divergences between many pairs of decoded vectors (docs/methods.md §6: KL of a link)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.decoding import compute_sums
from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.analysis.lenses import FLOOR, compute_logits
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel


@dataclass(frozen=True, slots=True)
class Profiles:
    """What a divergence needs of decoded vectors (output lens): with logits z = s(U x̂ + b),

    KL(p ‖ q) = lse(q) − lse(p) − s⟨m(p), x̂(q) − x̂(p)⟩, m(p) = Σ_v p_v (U_v − Ū): a product over d instead of V.
    Ū: the mean row, whose logit is left out of lse too. log_sum: (n,) lse. mean: (n, d) m. It does not hold under a
    soft-cap.
    """

    log_sum: Float[Tensor, " n"]
    mean: Float[Tensor, "n d"]


def compute_profiles(model: LoadedModel, x_hat: Float[Tensor, "n d"], z: Float[Tensor, "n V"]) -> Profiles:
    """Profiles of vectors from their logits, which are overwritten.

    lse is `H(p) + s(⟨m(p), x̂⟩ + Σ_v p_v b_v)`: that of the logits has their rounding, which is large where all logits
    of a model are far from 0.
    """
    peak = z.amax(-1)
    found = compute_sums(z, peak)
    e = z.sub_(peak[:, None]).exp_()
    weighted = torch.zeros(x_hat.shape, dtype=torch.float64, device=z.device)
    middle = model.weights.mean_row("unembed")
    for start, table in model.weights.chunks("unembed"):
        weighted += e[:, start : start + len(table)] @ (table - middle)
    total = (found.log_sum - peak).exp()
    mean = weighted / total[:, None]
    product = torch.linalg.vecdot(mean, x_hat.double())
    if (bias := model.weights.bias("unembed")) is not None:
        product += (e @ bias.clamp(min=FLOOR)) / total
    return Profiles(found.entropy + model.blueprint.logit_scale * product, mean.float())


def compute_profile_divergences(
    model: LoadedModel,
    upper: tuple[Profiles, Float[Tensor, "n d"]],
    lower: tuple[Float[Tensor, " n"], Float[Tensor, "n d"]],
) -> Float[Tensor, " n"]:
    """KL(upper ‖ lower) in nats of n pairs. upper: profiles and x̂; lower: lse and x̂."""
    (profile, x_upper), (log_sum, x_lower) = upper, lower
    apart = torch.linalg.vecdot(profile.mean.double(), (x_lower - x_upper).double())
    # of nearly equal vectors the sum is rounding, of either sign
    return (log_sum - profile.log_sum - model.blueprint.logit_scale * apart).clamp(min=0)


def compute_logit_divergences(
    model: LoadedModel, x_hat: Float[Tensor, "n d"], upper: Int[Tensor, " pairs"], lower: Int[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """KL(upper ‖ lower) in nats from the logits themselves, for a model with a soft-cap; n·V·4 bytes are held."""
    z = compute_logits(model, Projection(x_hat, torch.ones(len(x_hat), dtype=torch.float32, device=x_hat.device)))
    pairs = zip(upper.split(64), lower.split(64), strict=True)
    return torch.cat([compute_divergence(z[u], z[low]) for u, low in pairs])
