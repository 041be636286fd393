"""From a vector to scores over the vocabulary: norm policies and lenses (docs/methods.md §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.errors import RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Component, Lens, NormPolicy, Reading

FLOOR = -1e30


@dataclass(frozen=True, slots=True)
class Projection:
    """Vectors ready for the tables: logits are `cap((1−a) E x̂ + a (U x̂ + b_U))`.

    x_hat: (n, d). mix: a (n,), 0 the input table, 1 the output table. bias: whether b_U is added.
    capped: logit scale and soft-cap; an update has the scale only.
    """

    x_hat: Float[Tensor, "n d"]
    mix: Float[Tensor, " n"]
    bias: bool = True
    capped: bool = True


def default_policy(component: Component, lens: Lens, reading: Reading) -> NormPolicy:
    """The norm policy where none is asked for: updates at the stream's scale, states by the final norm."""
    if component in (Component.ATTENTION, Component.MLP) or reading is Reading.DIFFERENCE:
        return NormPolicy.STREAM
    return NormPolicy.NORM_ONLY if lens is Lens.INPUT else NormPolicy.FINAL


def check_lens(lens: Lens, policy: NormPolicy) -> None:
    """Refuse the one pair that has no meaning.

    Raises:
        RequestError: the max-probability lens on an update, which has no probabilities.
    """
    if lens is Lens.MAX and policy is NormPolicy.STREAM:
        raise RequestError(
            "lens: the max probability lens compares probabilities, and an update at the stream's scale has none. "
            'Choose another lens, or norm="final"'
        )


def mix_of(lens: Lens, rows: Int[Tensor, " n"], n_layers: int) -> Float[Tensor, " n"]:
    """The share a of the output table at heatmap rows; the max-probability lens is settled cell by cell later."""
    depth = rows.float() / (n_layers + 1)
    if lens is Lens.LINEAR:
        return depth
    if lens is Lens.QUADRATIC:
        return depth * depth
    return torch.full_like(depth, 0.0 if lens is Lens.INPUT else 1.0)


def normalise(
    model: LoadedModel,
    x: Float[Tensor, "n d"],
    stream: Float[Tensor, "n d"],
    policy: NormPolicy,
    as_it_is: Tensor,
) -> Float[Tensor, "n d"]:
    """x̂ under a policy.

    stream: the stream at each vector's row and position, whose σ the stream policy takes. as_it_is: (n,) true at
    row L+1, which is never normed again.
    """
    if policy is NormPolicy.NONE:
        return x
    if policy is NormPolicy.FINAL:
        out = model.final_state(x)
    elif policy is NormPolicy.NORM_ONLY:
        out = model.norm.without_scale(x, model.norm.sigma(x))
    else:
        out = model.norm.linear(x, model.norm.sigma(stream))
    return torch.where(as_it_is[:, None], x, out)


def logit_matrix(model: LoadedModel, projection: Projection) -> Float[Tensor, "n V"]:
    """Logits of n vectors. The tables are read by chunks and the mixed one is never formed; n·V·4 bytes are held.

    Leading vectors of the input table alone, and trailing ones of the output table alone, take one product, not two.
    """
    a, x = projection.mix[:, None], projection.x_hat
    n, lead, trail = x.shape[0], _leading(projection.mix == 0), _leading(projection.mix.flip(0) == 1)
    z = torch.empty((n, model.weights.n_rows("unembed")), dtype=torch.float32, device=x.device)
    z[:lead] = 0
    if lead < n:
        for start, table in model.weights.chunks("unembed"):
            torch.mm(x[lead:] * a[lead:], table.T, out=z[lead:, start : start + len(table)])
    if trail < n:
        weighted = x[: n - trail] * (1 - a[: n - trail])
        for start, table in model.weights.chunks("embed"):
            z[: n - trail, start : start + len(table)].addmm_(weighted, table.T)
    if projection.bias and (bias := model.weights.bias("unembed")) is not None:
        z.addcmul_(a, bias.clamp(min=FLOOR))
    return finish(model, z, projection.capped)


def _leading(flags: Tensor) -> int:
    """How many flags from the first on are true."""
    return int(flags.int().cumprod(0).sum())


def finish(model: LoadedModel, z: Float[Tensor, "n V"], capped: bool) -> Float[Tensor, "n V"]:
    """Logit scale, and for states the soft-cap."""
    if capped:
        return model.cap(z)
    return z * model.blueprint.logit_scale if model.blueprint.logit_scale != 1.0 else z


def output_logits(model: LoadedModel, x: Tensor) -> Tensor:
    """The output lens with the final norm on any vectors (n, d) → (n, V)."""
    ones = torch.ones(x.shape[0], dtype=torch.float32, device=x.device)
    return logit_matrix(model, Projection(model.final_state(x), ones))
