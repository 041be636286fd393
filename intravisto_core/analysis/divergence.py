"""The divergence of two predictions from their logits, right where they are nearly alike (docs/methods.md §10)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.decoding import compute_sums, split_columns

# |log q − log p| from which q − p is taken as it is
NEAR = 0.5


def compute_divergence(z_p: Float[Tensor, "n V"], z_q: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
    """KL(p ‖ q) in nats, float64, from float32 logits; infinite where p says a token that q never does.

    With δ = log q − log p: `Σ p (expm1 δ − δ)`. Since Σ q = Σ p this is Σ p (log p − log q), as a sum of terms of which
    none is below 0 and each is of second order in δ: what is rounded in δ and in the two log-sums counts only times δ.
    """
    peak_p, peak_q = z_p.amax(-1), z_q.amax(-1)
    log_p, log_q = ((compute_sums(z, peak).log_sum - peak).float() for z, peak in ((z_p, peak_p), (z_q, peak_q)))
    out = torch.zeros(len(z_p), dtype=torch.float64, device=z_p.device)
    for block in split_columns(z_p):
        under_p = z_p[:, block] - peak_p[:, None]
        under_q = z_q[:, block] - peak_q[:, None]
        delta = under_q - under_p - (log_q - log_p)[:, None]
        p = under_p.sub_(log_p[:, None]).exp_()
        q = under_q.sub_(log_q[:, None]).exp_()
        term = torch.where(delta.abs() < NEAR, p * (torch.expm1(delta) - delta), q - p - p * delta)
        # where p is 0 the term is q, and δ may be infinite
        out += torch.where(p == 0, q, term).sum(-1)
    # the sum of the differences of expm1 δ and a tiny δ is rounding, of either sign
    return out.clamp(min=0)
