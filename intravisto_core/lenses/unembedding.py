"""A name for an unembedding: a lens that was trained with one means nothing with another."""

from __future__ import annotations

import hashlib

import torch

from intravisto_core.models import Weights


def hash_unembedding(weights: Weights) -> str:
    """SHA-256 of the unembedding's shape and numbers, rounded to bfloat16.

    The same file gives the same hash in float32 and in bfloat16; in float16 it is rounded twice, and may give another.
    """
    digest = hashlib.sha256(repr(weights.shape("unembed")).encode())
    for _, rows in weights.chunks("unembed"):
        digest.update(rows.bfloat16().view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()
