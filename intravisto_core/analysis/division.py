"""How attention divides over source positions and heads (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.models import LoadedModel, NormFormula
from intravisto_core.sites import AttentionDivision

SMALLEST = 1e-6
BLOCK_ELEMENTS = 1 << 24


def project_values(
    v: Float[Tensor, "Hkv T d_v"], w_o: Float[Tensor, "d H d_v"], norm: NormFormula | None, multiplier: float
) -> Iterator[tuple[slice, Float[Tensor, "H n d"]]]:
    """`v W_O` through the post-norm's γ and centring and the multiplier, a stretch of sources at a time."""
    d, n_heads, _ = w_o.shape
    step = max(1, BLOCK_ELEMENTS // (d * n_heads))
    one = torch.ones((), dtype=torch.float32, device=v.device)
    for start in range(0, v.shape[1], step):
        sources = slice(start, start + step)
        values = v[:, sources].float().repeat_interleave(n_heads // v.shape[0], 0)
        out = torch.bmm(values, w_o.permute(1, 2, 0))
        yield sources, (out if norm is None else norm.linear(out, one)) * multiplier


@dataclass(frozen=True, slots=True)
class Moved:
    """What attention moves: head h brings `weights[h,i,j] · value(h, j)` from position j to query i.

    weights: (H, Tq, T) the pattern, over σ of the post-norm where there is one. v: as captured. w_o: (d, H, d_v).
    total: (Tq, d) all that attention writes. bias: (Tq, d) what of it the biases of projection and post-norm write.
    edit: (Tq, d) what of it edits wrote, None without any.
    """

    weights: Float[Tensor, "H Tq T"]
    v: Float[Tensor, "Hkv T d_v"]
    w_o: Float[Tensor, "d H d_v"]
    norm: NormFormula | None
    multiplier: float
    total: Float[Tensor, "Tq d"]
    bias: Float[Tensor, "Tq d"]
    edit: Float[Tensor, "Tq d"] | None = None

    def values(self) -> Iterator[tuple[slice, Float[Tensor, "H n d"]]]:
        """See `project_values`."""
        return project_values(self.v, self.w_o, self.norm, self.multiplier)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Heads whose output an edit changed at some queries, and what stands there now.

    heads: (H, Tq) true where an edit wrote instead of the head. z: (H, Tq, d_v) of all heads, as the run had it.
    whole: (Tq,) true where what attention writes in all was put in; attn_out: (Tq, d) is that.
    """

    heads: Bool[Tensor, "H Tq"]
    z: Float[Tensor, "H Tq d_v"]
    whole: Bool[Tensor, " Tq"]
    attn_out: Float[Tensor, "Tq d"]

    @property
    def taken(self) -> Bool[Tensor, "H Tq"]:
        """Where a head's own reading does not count."""
        return self.heads | self.whole

    def own(self, pattern: Float[Tensor, "H Tq T"]) -> Float[Tensor, "H Tq T"]:
        """The pattern of heads that write what they read; nothing where an edit writes."""
        return pattern.masked_fill(self.taken[:, :, None], 0)


def find_moved(
    model: LoadedModel,
    layer: int,
    pattern: Float[Tensor, "H Tq T"],
    v: Float[Tensor, "Hkv T d_v"],
    edited: Rewritten | None = None,
) -> Moved:
    """What the attention of a layer moves to the queries of a pattern; float32."""
    n_heads = pattern.shape[0]
    w_o, bias = model.weights.get(f"w_o.{layer}").float(), model.weights.bias(f"w_o.{layer}")
    own = pattern if edited is None else edited.own(pattern)
    z = own @ v.float().repeat_interleave(n_heads // v.shape[0], 0)
    written = z.transpose(0, 1).flatten(1) @ w_o.T
    fixed = torch.zeros_like(written) if bias is None else bias.expand_as(written)
    put_in = None
    if edited is not None:
        put_in = edited.z.masked_fill(~edited.heads[:, :, None], 0).transpose(0, 1).flatten(1) @ w_o.T
    norm, multiplier = apply_post_norm(model, layer, "w_o"), model.blueprint.multiplier
    whole, weights = written + fixed + (0 if put_in is None else put_in), own
    if norm is not None:
        sigma = norm.sigma(whole)
        weights, whole = own / sigma, norm(whole)
        fixed = norm.linear(fixed, sigma) + (0 if norm.shift is None else norm.shift)
        put_in = None if put_in is None else norm.linear(put_in, sigma)
    whole, fixed = whole * multiplier, fixed * multiplier
    if edited is not None and put_in is not None:
        at = edited.whole[:, None]
        whole, fixed = torch.where(at, edited.attn_out, whole), fixed.masked_fill(at, 0)
        put_in = torch.where(at, edited.attn_out, put_in * multiplier)
    split = w_o.unflatten(1, (n_heads, v.shape[2]))
    return Moved(weights, v, split, norm, multiplier, whole, fixed, put_in)


@dataclass(frozen=True, slots=True)
class Division:
    """Shares of each query's attention, NaN where undefined; all of a query sum to 1 but for rounding.

    parts: (Tq, T) of sources, or (H, Tq, T) of heads and sources. sink: (Tq,) or (H, Tq). bias: (Tq,). edit: (Tq,) of
    what edits wrote instead.
    """

    parts: Float[Tensor, "*H Tq T"]
    sink: Float[Tensor, "*H Tq"]
    bias: Float[Tensor, " Tq"]
    edit: Float[Tensor, " Tq"]

    def without(self, undefined: Bool[Tensor, " Tq"]) -> Division:
        """The same with undefined queries blank."""
        if not undefined.any():
            return self
        return Division(
            self.parts.masked_fill(undefined[:, None], torch.nan),
            self.sink.masked_fill(undefined, torch.nan),
            self.bias.masked_fill(undefined, torch.nan),
            self.edit.masked_fill(undefined, torch.nan),
        )


def divide_by_source(
    division: AttentionDivision,
    pattern: Float[Tensor, "H Tq T"],
    what: Moved | None,
    sinks: bool,
    edited: Rewritten | None = None,
    scale: float | None = None,
) -> Division:
    """How each query's attention divides over source positions.

    what: asked by all but the weights. sinks: whether rows of the pattern sum to less than 1 by learned sinks. edited:
    heads whose attention counts for what an edit wrote. scale: of some queries, the median of `all_lengths` of all.
    """
    if division is AttentionDivision.WEIGHTS or what is None:
        each = _given(pattern, sinks, edited)
        return Division(each.parts.mean(0), each.sink.mean(0), each.bias, each.edit)
    squares, along = _pairs(what, division is AttentionDivision.PROJECTION)
    if along is not None:
        return _along(along, what, squares.sum(-1))
    lengths = squares.sqrt()
    return _lengths(lengths, lengths.sum(-1), what, scale)


def measure_lengths(what: Moved, heads: bool = False) -> Float[Tensor, " Tq"]:
    """`Σ_j ‖c_ij‖` and what edits wrote: what the value-weighted division divides by; heads: `Σ_hj ‖c_hij‖`."""
    if heads:
        each = (torch.einsum("hin,hn->i", what.weights[:, :, sources], v.norm(dim=-1)) for sources, v in what.values())
        whole = sum(each, torch.zeros_like(what.total[:, 0]))
    else:
        whole = _pairs(what, False)[0].sqrt().sum(-1)
    return whole if what.edit is None else whole + what.edit.norm(dim=-1)


def divide_by_head(
    division: AttentionDivision,
    pattern: Float[Tensor, "H Tq T"],
    what: Moved | None,
    sinks: bool,
    edited: Rewritten | None = None,
    scale: float | None = None,
) -> Division:
    """How each query's attention divides over heads and source positions; every pair is a part of its own.

    Under the value-weighted division a source's sum over heads is not its share by `by_source`: heads that write
    against each other count in full here.
    """
    n_heads = pattern.shape[0]
    if division is AttentionDivision.WEIGHTS or what is None:
        given = _given(pattern, sinks, edited)
        return Division(given.parts / n_heads, given.sink / n_heads, given.bias, given.edit)
    out = torch.empty_like(what.weights)
    for sources, values in what.values():
        size = values @ what.total.T if division is AttentionDivision.PROJECTION else values.norm(dim=-1)[:, :, None]
        out[:, :, sources] = what.weights[:, :, sources] * size.transpose(1, 2)
    if division is AttentionDivision.VALUE_WEIGHTED:
        return _lengths(out, out.sum((0, 2)), what, scale)
    squares, _ = _pairs(what, False)
    return _along(out, what, squares.sum(-1))


def _given(pattern: Float[Tensor, "H Tq T"], sinks: bool, edited: Rewritten | None) -> Division:
    """Attention weights as they are; without learned sinks, a query that attends to nothing is undefined."""
    weights = pattern if edited is None else edited.own(pattern)
    given, edit = weights.sum(-1), torch.zeros_like(pattern[0, :, 0])
    sink = (1 - given).clamp(min=0) if sinks else torch.zeros_like(given)
    if edited is not None:
        sink, edit = sink.masked_fill(edited.taken, 0), edited.taken.float().mean(0)
    whole = (given + sink).sum(0) + edit
    return Division(weights, sink, torch.zeros_like(whole), edit).without(whole <= SMALLEST)


def _lengths(
    lengths: Float[Tensor, "*H Tq T"], whole: Float[Tensor, " Tq"], what: Moved, scale: float | None = None
) -> Division:
    nothing = torch.zeros_like(whole)
    sink = nothing.expand(lengths.shape[:-1])
    edit = nothing if what.edit is None else what.edit.norm(dim=-1)
    whole = whole + edit
    shares = Division(lengths / whole[:, None], sink, nothing, edit / whole)
    return shares.without(whole <= SMALLEST * (whole.median() if scale is None else scale))


def _along(along: Float[Tensor, "*H Tq T"], what: Moved, squares: Float[Tensor, " Tq"]) -> Division:
    """Parts along all that attention wrote, over its length squared. squares: Σ_j ‖c_ij‖²."""
    length = what.total.square().sum(-1)
    bias = (what.bias * what.total).sum(-1)
    edit, sink = torch.zeros_like(bias), torch.zeros(along.shape[:-1], dtype=torch.float32, device=along.device)
    size = squares + what.bias.square().sum(-1)
    if what.edit is not None:
        edit, size = (what.edit * what.total).sum(-1), size + what.edit.square().sum(-1)
    shares = Division(along / length[:, None], sink, bias / length, edit / length)
    return shares.without(length <= SMALLEST * size)


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
