"""What the heads of a layer bring from each position to one query (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.division import Moved
from intravisto_core.analysis.explanation import divide_heads_by_source
from intravisto_core.analysis.parts import split_attention
from intravisto_core.records.layer import EDITED_SOURCE, LEARNED_SINK, OTHER_SOURCES, ROUNDING
from intravisto_core.sites import AttentionDivision, LayerWidth, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.shares import has_sinks, read_attention
from intravisto_core.views.layer.asked import Asked

MOST_SOURCES = 24
SMALLEST = 1e-5  # of pulls; less is rounding of this program
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Brought:
    """What all heads bring to one query. pattern, lengths, pulls, versus: (H, T). value_lengths: at weight 1, (H, T).

    lengths, pulls: of heads that an edit wrote 0; these are flagged in `edited`. moved: what it was made of.
    """

    pattern: Float[Tensor, "H T"]
    value_lengths: Float[Tensor, "H T"]
    lengths: Float[Tensor, "H T"]
    pulls: Float[Tensor, "H T"]
    versus: Float[Tensor, "H T"]
    edited: list[bool]
    moved: Moved


def read_brought(context: ViewContext, layer: int, asked: Asked) -> Brought:
    """Rebuilt from pattern and values, so that what a head brings adds up over positions."""
    pattern, what, edits = read_attention(
        context, layer, AttentionDivision.VALUE_WEIGHTED, torch.tensor([asked.position])
    )
    assert what is not None
    nothing = what.v.new_zeros((what.v.shape[0], what.v.shape[2])).float()
    pulls, versus = (divide_heads_by_source(what, nothing, g) for g in asked.gauge.readers)
    values = measure_value_lengths(what)
    edited = [False] * len(pattern) if edits is None else edits.taken[:, 0].tolist()
    given = pattern.masked_fill(what.weights == 0, 0).sum()
    scale = float(what.weights.sum() / given) if what.norm is not None and float(given) else 1.0
    return Brought(pattern[:, 0], values * scale, what.weights[:, 0] * values, pulls, versus, edited, what)


def measure_value_lengths(what: Moved) -> Float[Tensor, "H T"]:
    """‖m·P(v_j W_O[h])‖, the post-norm's σ left out; as quadratic forms of a head's matrix where the text is long."""
    n_heads, (_, length, d_value) = what.w_o.shape[1], what.v.shape
    if length <= d_value:
        return torch.cat([x.norm(dim=-1) for _, x in what.values()], 1)
    w_o = what.w_o.permute(1, 2, 0)
    if what.norm is not None:
        w_o = what.norm.linear(w_o, w_o.new_ones(()))
    gram = w_o @ w_o.transpose(1, 2) * what.multiplier**2
    v = what.v.float().repeat_interleave(n_heads // what.v.shape[0], 0)
    return ((v @ gram) * v).sum(-1).clamp(min=0).sqrt()


@dataclass(frozen=True, slots=True)
class SourceTable:
    """As in `LayerGraph`: (J,) positions, the rest (D, J)."""

    positions: Array
    weight: Array
    size: Array
    pull: Array
    versus: Array


def divide_sources(context: ViewContext, layer: int, asked: Asked, heads: Sequence[int]) -> SourceTable:
    """The sources of the heads that have rows; of a long text those that most comes from, and all others as one."""
    vectors = _read_heads(context, layer, asked, heads)
    written = asked.gauge.pulls(vectors)
    found = read_brought(context, layer, asked)
    weights, lengths, pulls, versus = (
        x[list(heads)].double() for x in (found.pattern, found.lengths, found.pulls, found.versus)
    )
    seen = list(range(asked.position + 1))
    if len(seen) > MOST_SOURCES:
        measure = {LayerWidth.PULL: pulls, LayerWidth.VERSUS: versus}.get(asked.gauge.width, lengths)
        total = measure.abs().sum(0)
        seen = sorted(total.topk(MOST_SOURCES).indices.tolist())
    others = sorted(set(range(pulls.shape[1])) - set(seen))
    columns = [x[:, seen] for x in (weights, lengths, pulls, versus)]
    names = list(seen)

    def add(name: int, *new: Tensor) -> None:
        names.append(name)
        for i, x in enumerate(new):
            columns[i] = torch.cat([columns[i], x[:, None]], 1)

    if len(seen) <= asked.position:
        size = _length_of_rest(found, heads, others)
        add(OTHER_SOURCES, weights[:, others].sum(1), size, pulls[:, others].sum(1), versus[:, others].sum(1))
    nothing = torch.zeros(len(heads), dtype=torch.float64, device=pulls.device)
    if has_sinks(context, layer):
        add(LEARNED_SINK, (1 - weights.sum(1)).clamp(min=0), nothing, nothing, nothing)
    if any(found.edited):
        of = torch.tensor([found.edited[h] for h in heads], device=pulls.device)
        own = written * of[:, None]
        add(EDITED_SOURCE, nothing, vectors.norm(dim=-1).double() * of, own[:, 0], own[:, 1])
    rest = written - torch.stack([columns[2].sum(1), columns[3].sum(1)], 1)
    if len(heads) and float(rest.abs().max()) > SMALLEST * (1 + float(written.abs().max())):
        add(ROUNDING, nothing, nothing, rest[:, 0], rest[:, 1])
    arrays = (x.cpu().numpy() for x in columns)
    return SourceTable(np.array(names, np.int32), *arrays)


def _length_of_rest(found: Brought, heads: Sequence[int], rest: Sequence[int]) -> Tensor:
    """Length of what each head brings from all the positions without a row of their own, together."""
    what = found.moved
    v = what.v.float().repeat_interleave(what.w_o.shape[1] // what.v.shape[0], 0)
    z = torch.einsum("ht,htv->hv", what.weights[:, 0][:, list(rest)], v[:, list(rest)])
    out = torch.einsum("hv,dhv->hd", z, what.w_o)
    if what.norm is not None:
        out = what.norm.linear(out, out.new_ones(()))
    return (out.norm(dim=-1) * abs(what.multiplier))[list(heads)].double()


def _read_heads(context: ViewContext, layer: int, asked: Asked, heads: Sequence[int]) -> Tensor:
    """What heads write as the run had it, (D, d)."""
    z = context.data.site(Site.Z, layer)[:, asked.position : asked.position + 1]
    return split_attention(context.model, layer, z)[0][list(heads), 0]
