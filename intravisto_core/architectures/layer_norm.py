"""Families with LayerNorm and attention through the transformers interface, many of them with parallel blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from intravisto_core.architectures.declaration import Architecture, Fused, Layout, MlpPaths, NormKind, Order


def _always(config: Any) -> bool:
    return True


def _by_config(config: Any) -> bool:
    return bool(config.use_parallel_residual)


def _stablelm_norm(config: Any) -> str:
    return "input_layernorm" if config.use_parallel_residual else "post_attention_layernorm"


def _opt_kinds(config: Any) -> str:
    if not config.do_layer_norm_before:
        return "it norms the stream after each addition (as OPT-350m does), so the stream is not the sum of its parts"
    if config.word_embed_proj_dim != config.hidden_size:
        return "its tables have another width than the stream, so no lens can read the stream"
    if config._remove_final_layer_norm:
        return "it has no final norm"
    return ""


GPT_NEOX = Architecture(
    family="gpt_neox",
    final_norm="final_layer_norm",
    attention="attention",
    fused=Fused("query_key_value", Layout.BY_GROUP),
    attn_out="attention",
    w_o="attention.dense",
    w_out="mlp.dense_4h_to_h",
    mlp=MlpPaths(gate=None, up="dense_h_to_4h", act="act"),
    norm=NormKind.LAYER,
    parallel=_by_config,
    order=lambda config: Order.MA_P if config.use_parallel_residual else Order.PA_M,
)
OPT = Architecture(
    family="opt",
    layers="decoder.layers",
    attn_norm="self_attn_layer_norm",
    final_norm="decoder.final_layer_norm",
    w_o="self_attn.out_proj",
    w_out="fc2",
    mlp_out="fc2",
    mlp=MlpPaths(norm="final_layer_norm", gate=None, up="fc1", act="activation_fn"),
    mid_reader="final_layer_norm",
    norm=NormKind.LAYER,
    refuse=_opt_kinds,
)
LAYERNORMS = ("q_layernorm", "k_layernorm")
PHI = Architecture(
    family="phi",
    final_norm="final_layernorm",
    qk_norms=LAYERNORMS,
    w_o="self_attn.dense",
    w_out="mlp.fc2",
    mlp=MlpPaths(norm="input_layernorm", gate=None, up="fc1", act="activation_fn"),
    norm=NormKind.LAYER,
    parallel=_always,
    order=Order.AM_P,
)
STABLELM = Architecture(
    family="stablelm", norm=NormKind.LAYER, parallel=_by_config, qk_norms=LAYERNORMS, mlp=MlpPaths(norm=_stablelm_norm)
)
PLAIN = MlpPaths(gate=None, up="c_fc", act="act")
STARCODER2 = Architecture(family="starcoder2", w_out="mlp.c_proj", norm=NormKind.LAYER, mlp=PLAIN)
# Its norm has neither scale nor shift, and its eps is a number in the code.
OLMO = Architecture(family="olmo", norm=NormKind.LAYER, norm_eps=1e-5)
NEMOTRON = Architecture(family="nemotron", norm=NormKind.LAYER, norm_offset=1.0, mlp=MlpPaths(gate=None))
COHERE = Architecture(
    family="cohere",
    norm=NormKind.LAYER,
    parallel=_always,
    logit_scale=lambda config: config.logit_scale,
    mlp=MlpPaths(norm="input_layernorm"),
)
# Its layers of full attention have no positions at all.
COHERE2 = replace(COHERE, family="cohere2", rotated=lambda config, layer: config.layer_types[layer] != "full_attention")
ALL = (GPT_NEOX, OPT, PHI, STABLELM, STARCODER2, OLMO, NEMOTRON, COHERE, COHERE2)
