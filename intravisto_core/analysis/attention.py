"""Attention patterns from captured queries and keys (docs/methods.md §1)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def compute_pattern(
    q: Float[Tensor, "H Tq d_head"],
    k: Float[Tensor, "Hkv T d_head"],
    first: Int[Tensor, " Tq"],
    last: Int[Tensor, " Tq"],
    scaling: float,
    soft_cap: float = 0.0,
    *,
    key_bias: Float[Tensor, "H T"] | None = None,
    sinks: Float[Tensor, " H"] | None = None,
    in_float32: bool = False,
    cut: Bool[Tensor, "H Tq T"] | None = None,
) -> Float[Tensor, "H Tq T"]:
    """Softmax of the scores, in float32 after a product in the model's dtype, as the model's own code does.

    first, last: the first and last key that each query may see. Query head h reads kv head `h // (H/Hkv)`.
    key_bias: added to the scores of each key. sinks: one more score a head, whose weight goes to no key. cut: edges
    that are taken away; a row with no key left is 0.
    """
    scores = cap_scores(compute_products(q, k, scaling, in_float32), soft_cap)
    if key_bias is not None:
        scores = scores + key_bias[:, None]
    position = torch.arange(k.shape[1], device=q.device)
    hidden = (position < first[:, None]) | (position > last[:, None])
    if cut is not None:
        hidden = hidden | cut
    scores = scores.float()
    # of a few queries only the last of the keys are hidden from some
    columns = torch.nonzero(hidden.flatten(0, -2).any(0))[:, 0]
    if len(columns):
        part = slice(int(columns[0]), int(columns[-1]) + 1)
        scores[..., part].masked_fill_(hidden[..., part], -torch.inf)
    if sinks is None:
        weights = scores.softmax(-1)
        return weights if cut is None else weights.masked_fill(hidden, 0.0)
    sink = sinks.float()[:, None, None].expand(-1, scores.shape[1], 1)
    return torch.cat([scores, sink], -1).softmax(-1)[..., :-1]


def compute_products(
    q: Float[Tensor, "H Tq d_head"], k: Float[Tensor, "Hkv T d_head"], scaling: float, in_float32: bool
) -> Float[Tensor, "H Tq T"]:
    """`q kᵀ` times the scale, in the data type that the model's own code multiplies in; no key is copied."""
    if in_float32:
        q, k = q.float(), k.float()
    by_group = q.reshape(k.shape[0], -1, q.shape[2])
    return torch.bmm(by_group, k.transpose(1, 2)).view(*q.shape[:2], k.shape[1]).mul_(scaling)


def cap_scores(scores: Float[Tensor, "*n"], soft_cap: float) -> Float[Tensor, "*n"]:
    """Scores through the soft-cap, where there is one."""
    return torch.tanh(scores / soft_cap) * soft_cap if soft_cap else scores


def pick_head_values(weights: Float[Tensor, "H Tq T"], v: Float[Tensor, "Hkv T d_v"]) -> Float[Tensor, "H Tq d_v"]:
    """`z = pattern @ v` for every query head, float32."""
    return weights @ v.float().repeat_interleave(weights.shape[0] // v.shape[0], 0)
