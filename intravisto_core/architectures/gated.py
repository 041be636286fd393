"""Families built like Llama: RMSNorm, gated MLP, attention through the transformers interface."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from intravisto_core.architectures.declaration import Architecture

_CHANGING_ROPE = ("dynamic", "longrope")


def _changing_rope(config: Any) -> str:
    """RoPE whose frequencies depend on the longest text so far: a cached run differs from a fresh one."""
    kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind in _CHANGING_ROPE:
        return f"its rotary embedding ({kind}) changes with the length of the text, so a trace cannot be exact yet"
    return ""


LLAMA = Architecture(family="llama", refuse=_changing_rope)
MISTRAL = replace(LLAMA, family="mistral")
QWEN2 = replace(LLAMA, family="qwen2")
QWEN3 = replace(LLAMA, family="qwen3")
GRANITE = replace(
    LLAMA,
    family="granite",
    residual_multiplier=lambda config: config.residual_multiplier,
    logit_scale=lambda config: 1.0 / config.logits_scaling,
)
GEMMA2 = replace(
    LLAMA,
    family="gemma2",
    attn_out="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
    mid_reader="pre_feedforward_layernorm",
    attn_post_norm="post_attention_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
    norm_offset=1.0,
)
ALL = (LLAMA, MISTRAL, QWEN2, QWEN3, GRANITE, GEMMA2)
