"""How attention divides over source positions and heads (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intravisto_core.analysis.parts import post_norm
from intravisto_core.models import LoadedModel, NormFormula
from intravisto_core.sites import AttentionDivision

SMALLEST = 1e-6
BLOCK_ELEMENTS = 1 << 24


@dataclass(frozen=True, slots=True)
class Moved:
    """What attention moves: head h brings `weights[h,i,j] · value(h, j)` from position j to query i.

    weights: (H, Tq, T) the pattern, over σ of the post-norm where there is one. v: as captured. w_o: (d, H, d_v).
    total: (Tq, d) all that attention writes. bias: (Tq, d) what of it the biases of projection and post-norm write.
    """

    weights: Float[Tensor, "H Tq T"]
    v: Float[Tensor, "Hkv T d_v"]
    w_o: Float[Tensor, "d H d_v"]
    norm: NormFormula | None
    multiplier: float
    total: Float[Tensor, "Tq d"]
    bias: Float[Tensor, "Tq d"]

    def values(self) -> Iterator[tuple[slice, Float[Tensor, "H n d"]]]:
        """`v W_O` through the post-norm's γ and centring and the multiplier, a stretch of sources at a time."""
        d, n_heads, _ = self.w_o.shape
        step = max(1, BLOCK_ELEMENTS // (d * n_heads))
        one = torch.ones((), device=self.v.device)
        for start in range(0, self.v.shape[1], step):
            sources = slice(start, start + step)
            v = self.v[:, sources].float().repeat_interleave(n_heads // self.v.shape[0], 0)
            out = torch.bmm(v, self.w_o.permute(1, 2, 0))
            yield sources, (out if self.norm is None else self.norm.linear(out, one)) * self.multiplier


def moved(
    model: LoadedModel,
    layer: int,
    pattern: Float[Tensor, "H Tq T"],
    v: Float[Tensor, "Hkv T d_v"],
) -> Moved:
    """What the attention of a layer moves to the queries of a pattern; float32."""
    n_heads = pattern.shape[0]
    w_o, bias = model.weights.get(f"w_o.{layer}").float(), model.weights.bias(f"w_o.{layer}")
    z = pattern @ v.float().repeat_interleave(n_heads // v.shape[0], 0)
    written = z.transpose(0, 1).flatten(1) @ w_o.T
    fixed = torch.zeros_like(written) if bias is None else bias.expand_as(written)
    norm, multiplier = post_norm(model, layer, "w_o"), model.blueprint.multiplier
    whole, weights = written + fixed, pattern
    if norm is not None:
        sigma = norm.sigma(whole)
        weights, whole = pattern / sigma, norm(whole)
        fixed = norm.linear(fixed, sigma) + (0 if norm.shift is None else norm.shift)
    split = w_o.unflatten(1, (n_heads, v.shape[2]))
    return Moved(weights, v, split, norm, multiplier, whole * multiplier, fixed * multiplier)


@dataclass(frozen=True, slots=True)
class Division:
    """Shares of each query's attention, NaN where undefined; all of a query sum to 1 but for rounding.

    parts: (Tq, T) of sources, or (H, Tq, T) of heads and sources. sink: (Tq,) or (H, Tq). bias: (Tq,).
    """

    parts: Float[Tensor, "*H Tq T"]
    sink: Float[Tensor, "*H Tq"]
    bias: Float[Tensor, " Tq"]

    def without(self, undefined: Bool[Tensor, " Tq"]) -> Division:
        """The same with undefined queries blank."""
        return Division(
            self.parts.masked_fill(undefined[:, None], torch.nan),
            self.sink.masked_fill(undefined, torch.nan),
            self.bias.masked_fill(undefined, torch.nan),
        )


def by_source(
    division: AttentionDivision, pattern: Float[Tensor, "H Tq T"], what: Moved | None, sinks: bool
) -> Division:
    """How each query's attention divides over source positions.

    what: asked by all but the weights. sinks: whether rows of the pattern sum to less than 1 by learned sinks.
    """
    if division is AttentionDivision.WEIGHTS or what is None:
        return _given(pattern.mean(0), sinks)
    squares, along = _pairs(what, division is AttentionDivision.PROJECTION)
    if along is not None:
        return _along(along, what, squares.sum(-1))
    lengths = squares.sqrt()
    whole = lengths.sum(-1)
    return _lengths(lengths, whole)


def by_head(division: AttentionDivision, pattern: Float[Tensor, "H Tq T"], what: Moved | None, sinks: bool) -> Division:
    """How each query's attention divides over heads and source positions; every pair is a part of its own.

    Under the value-weighted division a source's sum over heads is not its share by `by_source`: heads that write
    against each other count in full here.
    """
    n_heads = pattern.shape[0]
    if division is AttentionDivision.WEIGHTS or what is None:
        given = _given(pattern, sinks)
        return Division(given.parts / n_heads, given.sink / n_heads, given.bias)
    out = torch.empty_like(what.weights)
    for sources, values in what.values():
        size = values @ what.total.T if division is AttentionDivision.PROJECTION else values.norm(dim=-1)[:, :, None]
        out[:, :, sources] = what.weights[:, :, sources] * size.transpose(1, 2)
    if division is AttentionDivision.VALUE_WEIGHTED:
        return _lengths(out, out.sum((0, 2)))
    squares, _ = _pairs(what, False)
    return _along(out, what, squares.sum(-1))


def _given(weights: Float[Tensor, "*H Tq T"], sinks: bool) -> Division:
    """Attention weights as they are; without learned sinks, a query that attends to nothing is undefined."""
    given = weights.sum(-1)
    sink = (1 - given).clamp(min=0) if sinks else torch.zeros_like(given)
    whole = (given + sink).reshape(-1, given.shape[-1]).sum(0)
    return Division(weights, sink, torch.zeros_like(whole)).without(whole <= SMALLEST)


def _lengths(lengths: Float[Tensor, "*H Tq T"], whole: Float[Tensor, " Tq"]) -> Division:
    nothing = torch.zeros_like(whole)
    sink = nothing.expand(lengths.shape[:-1])
    shares = Division(lengths / whole[:, None], sink, nothing)
    return shares.without(whole <= SMALLEST * whole.median())


def _along(along: Float[Tensor, "*H Tq T"], what: Moved, squares: Float[Tensor, " Tq"]) -> Division:
    """Parts along all that attention wrote, over its length squared. squares: Σ_j ‖c_ij‖²."""
    length = what.total.square().sum(-1)
    bias = (what.bias * what.total).sum(-1)
    shares = Division(along / length[:, None], torch.zeros(along.shape[:-1], device=along.device), bias / length)
    return shares.without(length <= SMALLEST * (squares + what.bias.square().sum(-1)))


def _pairs(what: Moved, projected: bool) -> tuple[Float[Tensor, "Tq T"], Float[Tensor, "Tq T"] | None]:
    """‖c_ij‖² and, where asked, ⟨c_ij, total_i⟩, c_ij being what all heads bring from j to i.

    The squares are quadratic forms of the weights in the values' Gram matrices: no (Tq, T, d) array is made.
    """
    squares = torch.empty_like(what.weights[0])
    along = torch.empty_like(squares) if projected else None
    for sources, values in what.values():
        weights = what.weights[:, :, sources]
        by_position, each = weights.permute(2, 0, 1), values.transpose(0, 1)
        gram = each @ each.transpose(1, 2)
        squares[:, sources] = ((gram @ by_position) * by_position).sum(1).T
        if along is not None:
            along[:, sources] = (weights * (values @ what.total.T).transpose(1, 2)).sum(0)
    return squares.clamp(min=0), along
