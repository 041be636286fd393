"""From projected vectors to scores over the vocabulary: products with the tables (docs/methods.md §3)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel

FLOOR = -1e30


def compute_logits(
    model: LoadedModel, projection: Projection, room: Float[Tensor, " z"] | None = None
) -> Float[Tensor, "n V"]:
    """Logits of n vectors. The tables are read by chunks and the mixed one is never formed; n·V·4 bytes are held.

    Leading vectors of the input table alone, and trailing ones of the output table alone, take one product, not two.
    room: memory that the logits may be written into, where it is large enough; the first touch of new memory costs a
    tenth of a product.
    """
    a, x = projection.mix[:, None], projection.x_hat
    n, lead, trail = x.shape[0], _leading(projection.mix == 0), _leading(projection.mix.flip(0) == 1)
    size = n * (d_vocab := model.weights.n_rows("unembed"))
    if room is None or len(room) < size:
        room = torch.empty(size, dtype=torch.float32, device=x.device)
    z = room[:size].view(n, d_vocab)
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
    return scale_logits(model, z, projection.capped)


def compute_logit_blocks(
    model: LoadedModel, x_hat: Float[Tensor, "n d"], width: int
) -> Iterator[tuple[int, Float[Tensor, "n w"]]]:
    """Logits of n vectors under the output lens, of so many tokens at a time, each with the id of its first token, and
    gone when the next comes. Without a soft-cap.
    """
    room = torch.empty(len(x_hat) * width, dtype=torch.float32, device=x_hat.device)
    bias = model.weights.bias("unembed")
    for start, table in model.weights.chunks("unembed", width):
        z = torch.mm(x_hat, table.T, out=room[: len(x_hat) * len(table)].view(len(x_hat), len(table)))
        if bias is not None:
            z += bias[start : start + len(table)].clamp(min=FLOOR)
        yield start, z.mul_(model.blueprint.logit_scale) if model.blueprint.logit_scale != 1.0 else z


def compute_mean_logits(model: LoadedModel, x_hat: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The mean over the vocabulary of the logits of n vectors under the output lens; without a soft-cap."""
    mean = x_hat @ model.weights.mean_row("unembed")
    if (bias := model.weights.bias("unembed")) is not None:
        mean = mean + bias.clamp(min=FLOOR).mean()
    return mean * model.blueprint.logit_scale


def compute_output_constant(model: LoadedModel) -> Float[Tensor, " V"] | None:
    """Logits of the final norm's β and the unembedding's bias; None where there is neither."""
    if model.norm.shift is None and model.weights.bias("unembed") is None:
        return None
    beta = model.norm.shift if model.norm.shift is not None else torch.zeros(model.dimensions.d_model)
    beta = beta[None].to(torch.float32)
    return compute_logits(model, Projection(beta, torch.ones(1, dtype=torch.float32, device=beta.device)))[0]


def compute_token_logits(
    model: LoadedModel, projection: Projection, tokens: tuple[int, ...]
) -> Float[Tensor, "n tokens"]:
    """Logits of n vectors for a few tokens: products with their rows of the tables alone."""
    a, x = projection.mix[:, None], projection.x_hat
    ids = torch.tensor(tokens, device=x.device)
    z = a * (x @ model.weights.get("unembed", ids).float().T)
    if bool((projection.mix != 1).any()):
        z += (1 - a) * (x @ model.weights.get("embed", ids).float().T)
    if projection.bias and (bias := model.weights.bias("unembed")) is not None:
        z.addcmul_(a, bias[ids].clamp(min=FLOOR))
    return scale_logits(model, z, projection.capped)


def _leading(flags: Tensor) -> int:
    """How many flags from the first on are true."""
    return int(flags.int().cumprod(0).sum())


def scale_logits(model: LoadedModel, z: Float[Tensor, "n V"], capped: bool) -> Float[Tensor, "n V"]:
    """Logit scale, and for states the soft-cap."""
    if capped:
        return model.cap(z)
    return z * model.blueprint.logit_scale if model.blueprint.logit_scale != 1.0 else z


def compute_output_logits(model: LoadedModel, x: Tensor) -> Tensor:
    """The output lens with the final norm on any vectors (n, d) → (n, V)."""
    ones = torch.ones(x.shape[0], dtype=torch.float32, device=x.device)
    return compute_logits(model, Projection(model.final_state(x), ones))
