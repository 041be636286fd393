"""How strongly each head takes from each key: by weight, or by what it moves (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.models import LoadedModel
from intravisto_core.sites import AttentionDivision

SMALLEST = 1e-6


def compute_gram(model: LoadedModel, layer: int, heads: slice) -> Float[Tensor, "H d_v d_v"]:
    """Of each head `M Mᵀ`, M what W_O (d_v, d) writes through the post-norm's γ and centring and the multiplier.

    Lengths and products of what heads move follow from it: no (H, T, d) array is made.
    """
    d_v, n_heads = model.dimensions.d_value, model.dimensions.n_heads
    w_o = model.weights.get(f"w_o.{layer}").unflatten(1, (n_heads, d_v))[:, heads].float().permute(1, 2, 0)
    norm = apply_post_norm(model, layer, "w_o")
    if norm is not None:
        w_o = norm.linear(w_o, torch.ones((), dtype=torch.float32, device=w_o.device))
    w_o = w_o * model.blueprint.multiplier
    return torch.bmm(w_o, w_o.transpose(1, 2))


def measure_strength(
    strength: AttentionDivision,
    pattern: Float[Tensor, "H Tq T"],
    v: Float[Tensor, "H T d_v"],
    gram: Float[Tensor, "H d_v d_v"] | None,
) -> Float[Tensor, "H Tq T"]:
    """Of each head, how much a query takes from each key; the pattern itself under the weights.

    Value-weighted: `‖p_ij v_j W_O‖` over the sum of a row. Projection: `⟨p_ij v_j W_O, Σ_j p_ij v_j W_O⟩` over the
    square of the sum's length. A row is 0 where nothing is moved, or where what is moved cancels out (below 1e-6 of the
    sum of the squares). v: of each query head.
    """
    if strength is AttentionDivision.WEIGHTS or gram is None:
        return pattern
    v = v.float()
    if strength is AttentionDivision.VALUE_WEIGHTED:
        sizes = _lengths(v, gram)
        parts = pattern * sizes[:, None]
        whole = parts.sum(-1, keepdim=True)
        return torch.where(whole > 0, parts / whole, 0.0)
    z = torch.bmm(pattern, v)
    along = torch.bmm(z, gram)
    parts = pattern * torch.bmm(along, v.transpose(1, 2))
    whole = (along * z).sum(-1, keepdim=True)
    scale = (pattern * _lengths(v, gram)[:, None]).square().sum(-1, keepdim=True)
    return torch.where(whole > SMALLEST * scale, parts / whole, 0.0)


def _lengths(v: Float[Tensor, "H T d_v"], gram: Float[Tensor, "H d_v d_v"]) -> Float[Tensor, "H T"]:
    return (torch.bmm(v, gram) * v).sum(-1).clamp(min=0).sqrt()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of attention: what each query takes from a stretch of keys, what was hidden, and what learned sinks took.

    start: the position of the first key; what stands outside the stretch is 0.
    """

    weights: Float[Tensor, "N Tq Tk"]
    hidden: Float[Tensor, "N Tq"]
    learned: Float[Tensor, "N Tq"]
    start: int = 0

    def whole(self, length: int) -> Float[Tensor, "N Tq T"]:
        """The weights of all keys of a text."""
        after = length - self.start - self.weights.shape[2]
        return torch.nn.functional.pad(self.weights, (self.start, after)) if self.start or after else self.weights

    def mean(self) -> Self:
        """The mean over the heads, as one."""
        weights, hidden, learned = (x.mean(0, keepdim=True) for x in (self.weights, self.hidden, self.learned))
        return type(self)(weights, hidden, learned, self.start)

    def share_of(self, keys: Bool[Tensor, " all"]) -> Float[Tensor, "N Tq"]:
        """What of each row goes to these keys. keys: of all positions."""
        return self.weights[..., self._here(keys)].sum(-1)

    def without(self, sinks: Bool[Tensor, " all"]) -> Self:
        """The rows with these keys hidden. sinks: of all positions."""
        here = self._here(sinks)
        if not bool(here.any()):
            return self
        weights = self.weights.masked_fill(here, 0.0)
        return type(self)(weights, self.share_of(sinks), self.learned, self.start)

    def _here(self, keys: Bool[Tensor, " all"]) -> Bool[Tensor, " Tk"]:
        return keys[self.start : self.start + self.weights.shape[2]].to(self.weights.device)

    def renormalised(self) -> Self:
        """What is left of each row over its sum; rows with less than 1e-6 left are 0."""
        left = 1 - self.hidden
        told = left > SMALLEST
        weights = torch.where(told[..., None], self.weights / left[..., None], 0.0)
        return type(self)(weights, self.hidden, torch.where(told, self.learned / left, 0.0), self.start)


def mean_of_layers(rows: Sequence[Rows], length: int) -> Rows:
    """The mean of the rows of several layers, which may see different stretches."""
    if len(rows) == 1:
        return rows[0]
    weights = torch.stack([each.whole(length) for each in rows]).mean(0)
    hidden, learned = (torch.stack([getattr(r, name) for r in rows]).mean(0) for name in ("hidden", "learned"))
    return Rows(weights, hidden, learned)
