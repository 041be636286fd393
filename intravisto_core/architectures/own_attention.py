"""Families whose attention does not go through the transformers interface; each has an adapter in `tracing`."""

from __future__ import annotations

from typing import Any

from intravisto_core.architectures.declaration import Architecture, AttentionKind, NormKind, Order


def _bloom_kinds(config: Any) -> str:
    if config.apply_residual_connection_post_layernorm:
        return "its blocks add to the normed stream, so the stream is not the sum of what is added to it"
    if config.slow_but_exact and config.pretraining_tp > 1:
        return "it multiplies by slices of its matrices (slow_but_exact). Set slow_but_exact to false in config.json"
    return ""


def _falcon_parallel(config: Any) -> bool:
    return bool(config.new_decoder_architecture or config.parallel_attn)


def _falcon_kernel(config: Any) -> str:
    """With ALiBi, the eager code of transformers adds the bias twice (once inside the mask); sdpa adds it once."""
    return "sdpa" if config.alibi else "eager"


GPT_NEO = Architecture(
    family="gpt_neo",
    layers="h",
    final_norm="ln_f",
    attention="attn.attention",
    attention_kind=AttentionKind.GPT_NEO,
    w_o="attn.attention.out_proj",
    w_out="mlp.c_proj",
    attn_out="attn",
    mid_reader="ln_2",
    norm=NormKind.LAYER,
)
GPTJ = Architecture(
    family="gptj",
    layers="h",
    final_norm="ln_f",
    attention="attn",
    attention_kind=AttentionKind.GPTJ,
    w_o="attn.out_proj",
    w_out="mlp.fc_out",
    attn_out="attn",
    norm=NormKind.LAYER,
    parallel=lambda config: True,
    order=Order.AM_P,
)
# Attention and MLP are given the stream and add to it themselves: what they add is their last projection's output.
BLOOM = Architecture(
    family="bloom",
    layers="h",
    final_norm="ln_f",
    attention="self_attention",
    attention_kind=AttentionKind.BLOOM,
    w_o="self_attention.dense",
    w_out="mlp.dense_4h_to_h",
    attn_out="self_attention.dense",
    mlp_out="mlp.dense_4h_to_h",
    norm=NormKind.LAYER,
    alibi=lambda config: True,
    refuse=_bloom_kinds,
)
FALCON = Architecture(
    family="falcon",
    layers="h",
    final_norm="ln_f",
    attention="self_attention",
    attention_kind=AttentionKind.FALCON,
    kernel=_falcon_kernel,
    w_o="self_attention.dense",
    w_out="mlp.dense_4h_to_h",
    attn_out="self_attention",
    norm=NormKind.LAYER,
    parallel=_falcon_parallel,
    alibi=lambda config: bool(config.alibi),
    order=lambda config: Order.MA_P if _falcon_parallel(config) else Order.PA_M,
)
MPT = Architecture(
    family="mpt",
    layers="blocks",
    final_norm="norm_f",
    attention="attn",
    attention_kind=AttentionKind.MPT,
    w_o="attn.out_proj",
    w_out="ffn.down_proj",
    attn_out="attn",
    mlp_out="ffn.down_proj",
    mid_reader="norm_2",
    norm=NormKind.LAYER,
    alibi=lambda config: bool(config.attn_config.alibi),
)
ALL = (GPT_NEO, GPTJ, BLOOM, FALCON, MPT)
