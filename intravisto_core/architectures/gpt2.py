"""GPT-2: LayerNorm with biases, learned positions, Conv1D projections (stored transposed)."""

from __future__ import annotations

from intravisto_core.architectures.declaration import Architecture, NormKind

GPT2 = Architecture(
    family="gpt2",
    layers="h",
    final_norm="ln_f",
    attention="attn",
    w_o="attn.c_proj",
    w_out="mlp.c_proj",
    attn_out="attn",
    mlp_out="mlp",
    mid_reader="ln_2",
    norm=NormKind.LAYER,
)
ALL = (GPT2,)
