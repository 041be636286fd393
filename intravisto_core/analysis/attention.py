"""Attention patterns from captured queries and keys (docs/methods.md §1)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pattern(
    q: Float[Tensor, "H Tq d_head"],
    k: Float[Tensor, "Hkv T d_head"],
    first: Int[Tensor, " Tq"],
    last: Int[Tensor, " Tq"],
    scaling: float,
    soft_cap: float = 0.0,
) -> Float[Tensor, "H Tq T"]:
    """Softmax of the scores, in float32 after a product in the model's dtype, as the model's own code does.

    first, last: the first and last key that each query may see. Query head h reads kv head `h // (H/Hkv)`.
    """
    keys = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
    scores = torch.matmul(q, keys.transpose(1, 2)) * scaling
    if soft_cap:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    position = torch.arange(k.shape[1], device=q.device)
    hidden = (position < first[:, None]) | (position > last[:, None])
    return scores.float().masked_fill(hidden, -torch.inf).softmax(-1)


def head_values(weights: Float[Tensor, "H Tq T"], v: Float[Tensor, "Hkv T d_v"]) -> Float[Tensor, "H Tq d_v"]:
    """`z = pattern @ v` for every query head, float32."""
    return weights @ v.float().repeat_interleave(weights.shape[0] // v.shape[0], 0)
