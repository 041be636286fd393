"""Families whose attention does not go through the transformers interface; each has an adapter in `tracing`."""

from __future__ import annotations

from typing import Any

from intravisto_core.architectures.declaration import (
    Architecture,
    AttentionKind,
    Fused,
    Layout,
    MlpPaths,
    NormKind,
    Order,
)


def _bloom_kinds(config: Any) -> str:
    if config.apply_residual_connection_post_layernorm:
        return "its blocks add to the normed stream, so the stream is not the sum of what is added to it"
    if config.slow_but_exact and config.pretraining_tp > 1:
        return "it multiplies by slices of its matrices (slow_but_exact). Set slow_but_exact to false in config.json"
    return ""


def _falcon_parallel(config: Any) -> bool:
    return bool(config.new_decoder_architecture or config.parallel_attn)


def _falcon_mlp_norm(config: Any) -> str:
    """A serial block has a norm of its own for the MLP; the new decoder too, unless the config says one for both."""
    if not _falcon_parallel(config):
        return "post_attention_layernorm"
    two = config.new_decoder_architecture and config.num_ln_in_parallel_attn in (None, 2)
    return "ln_mlp" if two else "input_layernorm"


def _falcon_norm(config: Any) -> str:
    """The new decoder has two norms where the config says so, or says nothing."""
    two = config.new_decoder_architecture and config.num_ln_in_parallel_attn in (None, 2)
    return "ln_attn" if two else "input_layernorm"


def _falcon_kernel(config: Any) -> str:
    """With ALiBi, the eager code of transformers adds the bias twice (once inside the mask); sdpa adds it once."""
    return "sdpa" if config.alibi else "eager"


GPT_NEO = Architecture(
    family="gpt_neo",
    layers="h",
    final_norm="ln_f",
    attention="attn.attention",
    attention_kind=AttentionKind.GPT_NEO,
    attn_norm="ln_1",
    w_o="attn.attention.out_proj",
    w_out="mlp.c_proj",
    attn_out="attn",
    mlp=MlpPaths(norm="ln_2", gate=None, up="c_fc", act="act"),
    mid_reader="ln_2",
    norm=NormKind.LAYER,
)
GPTJ = Architecture(
    family="gptj",
    layers="h",
    final_norm="ln_f",
    attention="attn",
    attention_kind=AttentionKind.GPTJ,
    attn_norm="ln_1",
    w_o="attn.out_proj",
    w_out="mlp.fc_out",
    mlp=MlpPaths(norm="ln_1", gate=None, up="fc_in", act="act"),
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
    fused=Fused("query_key_value", Layout.BY_GROUP),
    w_o="self_attention.dense",
    w_out="mlp.dense_4h_to_h",
    attn_out="self_attention.dense",
    mlp_out="mlp.dense_4h_to_h",
    mlp=MlpPaths(gate=None, up="dense_h_to_4h", act="gelu_impl"),
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
    attn_norm=_falcon_norm,
    fused=Fused("query_key_value", Layout.BY_GROUP),
    kernel=_falcon_kernel,
    w_o="self_attention.dense",
    w_out="mlp.dense_4h_to_h",
    attn_out="self_attention",
    mlp=MlpPaths(norm=_falcon_mlp_norm, gate=None, up="dense_h_to_4h", act="act"),
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
    attn_norm="norm_1",
    fused=Fused("Wqkv", Layout.CONCAT),
    w_o="attn.out_proj",
    w_out="ffn.down_proj",
    attn_out="attn",
    mlp_out="ffn.down_proj",
    mlp=MlpPaths(norm="norm_2", gate=None, up="up_proj", act="act"),
    mid_reader="norm_2",
    norm=NormKind.LAYER,
    alibi=lambda config: bool(config.attn_config.alibi),
)
ALL = (GPT_NEO, GPTJ, BLOOM, FALCON, MPT)
