"""Families built like Llama: RMSNorm, gated MLP, attention through the transformers interface."""

from __future__ import annotations

from dataclasses import replace

from intravisto_core.architectures.declaration import Architecture, Fused, Layout, MlpPaths

LLAMA = Architecture(family="llama")
GRANITE = replace(
    LLAMA,
    family="granite",
    residual_multiplier=lambda config: config.residual_multiplier,
    logit_scale=lambda config: 1.0 / config.logits_scaling,
)
GEMMA = replace(LLAMA, family="gemma", norm_offset=1.0)
GEMMA2 = replace(
    GEMMA,
    family="gemma2",
    attn_out="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
    mid_reader="pre_feedforward_layernorm",
    attn_post_norm="post_attention_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
    mlp=MlpPaths(norm="pre_feedforward_layernorm"),
)
OLMO2 = replace(GEMMA2, family="olmo2", mid_reader="mlp", norm_offset=0.0, attn_norm=None, mlp=MlpPaths(norm=None))
# One matrix holds gate and up.
JOINED = MlpPaths(gate="gate_up_proj", up="gate_up_proj", act="activation_fn")
GLM4 = replace(
    LLAMA,
    family="glm4",
    attn_out="post_self_attn_layernorm",
    mlp_out="post_mlp_layernorm",
    attn_post_norm="post_self_attn_layernorm",
    mlp_post_norm="post_mlp_layernorm",
    mlp=JOINED,
)
ALL = (
    LLAMA,
    *(replace(LLAMA, family=name) for name in ("mistral", "qwen2", "qwen3", "smollm3")),
    replace(LLAMA, family="glm", mlp=JOINED),
    *(replace(LLAMA, family=name) for name in ("ministral3", "qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text")),
    replace(LLAMA, family="phi3", mlp=JOINED, fused=Fused("qkv_proj", Layout.CONCAT)),
    # Its routers scale what an expert reads, so that a neuron has no weight of its own.
    replace(LLAMA, family="llama4_text", mlp_out="feed_forward", w_out=None),
    GRANITE,
    GEMMA,
    GEMMA2,
    replace(GEMMA2, family="gemma3_text"),
    OLMO2,
    replace(OLMO2, family="olmo3"),
    GLM4,
)
