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
    keys = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
    if in_float32:
        q, keys = q.float(), keys.float()
    scores = torch.matmul(q, keys.transpose(1, 2)) * scaling
    if soft_cap:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    if key_bias is not None:
        scores = scores + key_bias[:, None]
    position = torch.arange(k.shape[1], device=q.device)
    hidden = (position < first[:, None]) | (position > last[:, None])
    if cut is not None:
        hidden = hidden | cut
    scores = scores.float().masked_fill_(hidden, -torch.inf)
    if sinks is None:
        weights = scores.softmax(-1)
        return weights if cut is None else weights.masked_fill(hidden, 0.0)
    sink = sinks.float()[:, None, None].expand(-1, scores.shape[1], 1)
    return torch.cat([scores, sink], -1).softmax(-1)[..., :-1]


def pick_head_values(weights: Float[Tensor, "H Tq T"], v: Float[Tensor, "Hkv T d_v"]) -> Float[Tensor, "H Tq d_v"]:
    """`z = pattern @ v` for every query head, float32."""
    return weights @ v.float().repeat_interleave(weights.shape[0] // v.shape[0], 0)
