"""Where a token comes from: contribution by source word, and the words that a part writes (docs/methods.md §6, §7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.division import Moved
from intravisto_core.models import LoadedModel


def divide_heads_by_source(
    what: Moved, constants: Float[Tensor, "Hkv d_v"], g: Float[Tensor, " d"]
) -> Float[Tensor, "H T"]:
    """`⟨N_lin(m·P_lin(p_ij (v_j − c) W_O[h])), D⟩` times the logit scale, for every head and source j of one query.

    what: of that query alone. constants: c = W_V β_in + b_V of the layer, which attention moves from any position and
    which would credit the weight alone. g: see `compute_reader`.
    """
    pulled = g if what.norm is None else what.norm.centre(what.norm.scale * g)
    along = torch.einsum("d,dhv->hv", pulled * what.multiplier, what.w_o)
    v = what.v.float() - constants.to(what.v.device)[:, None]
    read = torch.einsum("htv,hv->ht", v.repeat_interleave(along.shape[0] // v.shape[0], 0), along)
    return what.weights[:, 0] * read


@dataclass(frozen=True, slots=True)
class WrittenWords:
    """The words of n parts, k each, and where one token of each stands among them.

    up, down: ids of the tokens whose directions a part goes along, and against, most. rank_up, rank_down: 1 is first.
    """

    up: Int[Tensor, "n k"]
    down: Int[Tensor, "n k"]
    rank_up: Int[Tensor, " n"]
    rank_down: Int[Tensor, " n"]


def find_written_words(
    model: LoadedModel, parts: Float[Tensor, "n d"], lengths: Float[Tensor, " V"], tokens: Int[Tensor, " n"], k: int
) -> WrittenWords:
    """Tokens by the angle `⟨part, ê_t⟩` between each part and their directions, in one pass over the table.

    lengths: ‖u_t‖ of every token (see `TokenLengths`). tokens: the one of each part whose rank is asked for.
    """
    x = model.norm.centre(parts.float()) * model.norm.scale
    scores = torch.empty((len(x), len(lengths)), dtype=torch.float32, device=x.device)
    for start, block in model.weights.chunks("unembed"):
        torch.mm(x, block.T, out=scores[:, start : start + len(block)])
    scores -= (x @ model.weights.mean_row("unembed"))[:, None]
    scores /= lengths
    k, own = min(k, scores.shape[1]), scores.gather(1, tokens[:, None])
    return WrittenWords(
        up=scores.topk(k, -1).indices,
        down=scores.topk(k, -1, largest=False).indices,
        rank_up=1 + (scores > own).sum(-1),
        rank_down=1 + (scores < own).sum(-1),
    )
