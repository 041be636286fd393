"""What vectors of one place say over the vocabulary: states, updates, directions (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.decoding import compute_sums, find_top_tokens
from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.analysis.lenses import FLOOR
from intravisto_core.models import LoadedModel

# log-odds up to which the quick way to a divergence cannot overflow
FAR = 30.0


def fold(model: LoadedModel, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """`γ ⊙ C(x)`: the final norm of an update or a direction, σ left out."""
    return model.norm.centre(x.float()) * model.norm.scale


def multiply(model: LoadedModel, x_hat: Float[Tensor, "n d"]) -> Float[Tensor, "n V"]:
    """Products with the unembedding, without bias and logit scale."""
    z = torch.empty((len(x_hat), model.dimensions.d_vocab), dtype=torch.float32, device=x_hat.device)
    for start, rows in model.weights.chunks("unembed", None):
        torch.mm(x_hat, rows.T, out=z[:, start : start + len(rows)])
    return z


def project(model: LoadedModel, x: Float[Tensor, "n d"]) -> Float[Tensor, "n V"]:
    """`U (γ ⊙ C(x))`: changes of logit times σ."""
    return multiply(model, fold(model, x))


@dataclass(frozen=True, slots=True)
class Angles:
    """What puts tokens in order by angle. lengths: ‖u_t‖ (V,), or None for the order by product."""

    lengths: Float[Tensor, " V"] | None

    def scores(self, z: Float[Tensor, "n V"]) -> Float[Tensor, "n V"]:
        """In place of products z, the cosines with ê_t times a factor that all tokens of a row share."""
        if self.lengths is None:
            return z
        return (z - z.mean(-1, keepdim=True)).div_(self.lengths)


def compute_base(model: LoadedModel) -> Float[Tensor, " V"] | float:
    """`U β + b_U`: what the output lens says of a stream of zeros."""
    bias = model.weights.bias("unembed")
    base: Tensor | float = 0.0 if bias is None else bias.clamp(min=-1e30)
    if model.norm.shift is not None:
        shift = model.norm.shift.float()
        told = [rows @ shift.to(rows.device) for _, rows in model.weights.chunks("unembed")]
        base = torch.cat(told) + base
    return base


def compute_losses(
    log_p: Float[Tensor, " V"], z: Float[Tensor, "n V"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """KL(p ‖ q) and H(p) − H(q) in nats, float64, q the softmax of each row of logits; z is written over.

    With δ = z − log p less its mean under p: `KL = log1p Σ p (expm1 δ − δ)`, a sum of terms ≥ 0 of second order in δ
    (docs/methods.md §10). Rows with a large δ take the slower way.
    """
    log_p = log_p.clamp(min=FLOOR)
    p = log_p.exp()
    kept = {}
    delta = z.sub_(log_p)
    delta -= (delta @ p)[:, None]
    far = delta.amax(-1) > FAR
    for row in far.nonzero()[:, 0].tolist():
        kept[row] = delta[row] + log_p
        delta[row] = 0
    grown = torch.expm1(delta)
    with_delta = (grown * delta) @ p
    over = grown.sub_(delta) @ p  # Σ p (expm1 δ − δ)
    entropy_p = -torch.dot(p, log_p).double()
    # Σ p expm1 δ log p, from (expm1 δ − δ) and δ
    along = grown @ (p * log_p) + delta @ (p * log_p)
    total = 1 + over.double()
    crossed = (along.double() - entropy_p + with_delta.double()) / total
    kl, entropy_q = torch.log1p(over.double()), total.log() - crossed
    for row, logits in kept.items():
        kl[row] = compute_divergence(log_p[None], logits[None])[0]
        entropy_q[row] = compute_sums(logits[None], logits[None].amax(-1)).entropy[0]
    return kl.clamp(min=0), entropy_p - entropy_q


@dataclass(frozen=True, slots=True)
class Stream:
    """A state of the stream and what it says. x: (d,). z: (V,) its `project`. base: see `compute_base`."""

    model: LoadedModel
    x: Float[Tensor, " d"]
    z: Float[Tensor, " V"]
    base: Float[Tensor, " V"] | float

    def logits(self) -> Float[Tensor, "1 V"]:
        """Of the state, by the norm as a formula in float32."""
        return self._capped(self.z[None].clone(), self.x[None])

    def without(self, vectors: Float[Tensor, "n d"], z: Float[Tensor, "n V"]) -> Float[Tensor, "n V"]:
        """Logits of the state less each vector, its norm computed again; z of the vectors is all that it takes."""
        return self._capped(self.z - z, self.x - vectors)

    def _capped(self, z: Tensor, x: Tensor) -> Tensor:
        z = z.div_(self.model.norm.sigma(x))
        return self.model.cap(z.add_(self.base) if isinstance(self.base, Tensor) or self.base else z)

    def losses(
        self, vectors: Float[Tensor, "n d"], z: Float[Tensor, "n V"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """KL(stream ‖ stream without each vector), and the entropy with it less without it; nats, float64."""
        own, other = self.logits(), self.without(vectors, z)
        log_p = own[0].double().log_softmax(-1).float()
        return compute_losses(log_p, other)


@dataclass(frozen=True, slots=True)
class States:
    """What states say: (S,), and (S, k) for the most probable tokens."""

    entropy: Float[Tensor, " S"]
    rank: Int[Tensor, " S"]
    probability: Float[Tensor, " S"]
    ids: Int[Tensor, "S k"]
    top: Float[Tensor, "S k"]


def read_states(z: Float[Tensor, "S V"], target: int, k: int) -> States:
    """What logits of states say."""
    best, ids = find_top_tokens(z, k)
    sums = compute_sums(z, best[:, 0])
    own = z[:, target]
    return States(
        entropy=sums.entropy,
        rank=1 + (z > own[:, None]).sum(-1),
        probability=(own - sums.log_sum).exp(),
        ids=ids,
        top=(best - sums.log_sum[:, None]).exp(),
    )
