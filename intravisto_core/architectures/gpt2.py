"""GPT-2: LayerNorm with biases, learned positions, Conv1D projections (stored transposed)."""

from __future__ import annotations

from intravisto_core.architectures.declaration import Architecture, Fused, Layout, MlpPaths, NormKind

GPT2 = Architecture(
    family="gpt2",
    layers="h",
    final_norm="ln_f",
    attention="attn",
    attn_norm="ln_1",
    fused=Fused("c_attn", Layout.CONCAT),
    w_o="attn.c_proj",
    w_out="mlp.c_proj",
    attn_out="attn",
    mlp_out="mlp",
    mlp=MlpPaths(norm="ln_2", gate=None, up="c_fc", act="act"),
    mid_reader="ln_2",
    norm=NormKind.LAYER,
)
ALL = (GPT2,)
