"""Second readings of a cell: what is left when its top token is taken out (docs/methods.md §4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.lenses import compute_logits
from intravisto_core.analysis.whitening import enter_stream
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel
from intravisto_core.sites import NormPolicy

STEPS = 5
LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Subtraction:
    """Tokens taken out one after the other.

    ids: −1 after the end. logits: at the step that took them. coefficients: ⟨x, ê_t⟩, in stream units.
    """

    ids: Int[Tensor, "n steps"]
    logits: Float[Tensor, "n steps"]
    coefficients: Float[Tensor, "n steps"]


def freeze_norm(
    model: LoadedModel,
    x: Float[Tensor, "n d"],
    stream: Float[Tensor, "n d"],
    policy: NormPolicy,
    as_it_is: Tensor,
) -> Callable[[Float[Tensor, "n d"]], Float[Tensor, "n d"]]:
    """x̂ as a function of x whose σ stays at its first value."""
    norm = model.norm
    sigma = norm.sigma(stream if policy is NormPolicy.STREAM else x)

    def apply(y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        if policy is NormPolicy.NONE:
            return y
        if policy is NormPolicy.NORM_ONLY:
            out = norm.without_scale(y, sigma)
        else:
            out = norm.linear(y, sigma)
            if policy is NormPolicy.FINAL and norm.shift is not None:
                out = out + norm.shift
        return torch.where(as_it_is[:, None], y, out)

    return apply


def compute_token_directions(
    model: LoadedModel, ids: Int[Tensor, " n"], mix: Float[Tensor, " n"], policy: NormPolicy, as_it_is: Tensor
) -> Float[Tensor, "n d"]:
    """Unit token directions ê_t in stream space, as it is read under a policy; at row L+1 in the normed state's."""
    a = mix[:, None]
    rows = (1 - a) * _centred(model, "embed", ids) + a * _centred(model, "unembed", ids)
    u = torch.where(as_it_is[:, None], rows, enter_stream(model, rows, policy))
    return u / u.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(u.dtype).tiny)


def _centred(model: LoadedModel, table: str, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    return model.weights.get(table, ids).float() - model.weights.mean_row(table)


def subtract_tokens(
    model: LoadedModel,
    x: Float[Tensor, "n d"],
    norm: Callable[[Tensor], Tensor],
    like: Projection,
    policy: NormPolicy,
    as_it_is: Tensor,
) -> Subtraction:
    """Take out the top token's direction again and again (`like` gives mix, bias and cap of the lens).

    The first token is always listed; a further one only if its coefficient is above 0 and at least 1 % of the
    starting ‖x‖, and it has not come before.
    """
    n = x.shape[0]
    least = LEAST * x.norm(dim=-1)
    going = torch.ones(n, dtype=torch.bool, device=x.device)
    ids: list[Tensor] = []
    logits: list[Tensor] = []
    coefficients: list[Tensor] = []
    for step in range(STEPS):
        z = compute_logits(model, replace(like, x_hat=norm(x)))
        top = z.max(-1)
        direction = compute_token_directions(model, top.indices, like.mix, policy, as_it_is)
        c = (x * direction).sum(-1)
        if step:
            repeated = (torch.stack(ids) == top.indices).any(0)
            going = going & (c > 0) & (c >= least) & ~repeated
        ids.append(top.indices.masked_fill(~going, -1))
        logits.append(top.values.masked_fill(~going, torch.nan))
        coefficients.append(c.masked_fill(~going, torch.nan))
        if step == 0:
            going = going & (c > 0) & (c >= least)
        x = torch.where(going[:, None], x - c[:, None] * direction, x)
    return Subtraction(*(torch.stack(s, 1) for s in (ids, logits, coefficients)))
