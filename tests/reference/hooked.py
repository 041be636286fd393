"""The same model in transformer-lens's own implementation, which shares no code with transformers'.

Nothing of `intravisto_core` is used here. Weights are loaded without folding or centring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tests.reference.plain import Run

_SITES = {
    "resid_pre": "hook_resid_pre",
    "attn_out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
    "v": "attn.hook_v",
    "z": "attn.hook_z",
    "act": "mlp.hook_post",
}


def _config(model: Any) -> dict[str, Any]:
    config = model.config
    shared = {
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "d_model": config.hidden_size,
        "d_head": config.hidden_size // config.num_attention_heads,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "dtype": torch.float32,
        "device": "cpu",
        "init_weights": False,
    }
    if config.model_type == "gpt2":
        return shared | {
            "d_mlp": 4 * config.hidden_size,
            "act_fn": "gelu_new",
            "normalization_type": "LN",
            "eps": config.layer_norm_epsilon,
        }
    return shared | {
        "d_mlp": config.intermediate_size,
        "act_fn": "silu",
        "gated_mlp": True,
        "normalization_type": "RMS",
        "final_rms": True,
        "eps": config.rms_norm_eps,
        "n_key_value_heads": config.num_key_value_heads,
        "positional_embedding_type": "rotary",
        "rotary_dim": config.hidden_size // config.num_attention_heads,
        "rotary_base": config.rope_parameters["rope_theta"],
        "rotary_adjacent_pairs": False,
    }


@torch.no_grad()
def run(model: Any, ids: Sequence[int]) -> Run:
    """Sites, logits and patterns of a Llama or GPT-2 by `HookedTransformer`."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights, convert_llama_weights

    rotary = model.config.model_type != "gpt2"
    config = HookedTransformerConfig.from_dict(_config(model))
    hooked = HookedTransformer(config)
    weights = (convert_llama_weights if rotary else convert_gpt2_weights)(model, config)
    hooked.load_and_process_state_dict(
        weights, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    logits, cache = hooked.run_with_cache(torch.tensor([list(ids)]))
    names = _SITES | {"q": "attn.hook_rot_q", "k": "attn.hook_rot_k"}
    if not rotary:
        names |= {"q": "attn.hook_q", "k": "attn.hook_k"}

    def at(layer: int, hook: str) -> np.ndarray:
        x = cache[f"blocks.{layer}.{hook}"][0]
        return (x.transpose(0, 1) if x.ndim == 3 and "pattern" not in hook else x).numpy()

    layers = range(config.n_layers)
    return Run(
        ids=tuple(ids),
        logits=logits[0].numpy(),
        sites={name: [at(layer, hook) for layer in layers] for name, hook in names.items()},
        patterns=[at(layer, "attn.hook_pattern") for layer in layers],
    )
