"""The same model in transformer-lens's own implementation, which shares no code with transformers'.

Nothing of `intravisto_core` is used here. Weights are loaded without centring.
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

# Which of its converters serves a model_type.
CONVERTED = {"llama": "llama", "gpt2": "gpt2", "gpt_neox": "neox", "gemma2": "gemma", "qwen2": "qwen2"}


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
    if config.model_type == "gpt_neox":
        return shared | {
            "d_mlp": config.intermediate_size,
            "act_fn": config.hidden_act,
            "normalization_type": "LN",
            "eps": config.layer_norm_eps,
            "parallel_attn_mlp": config.use_parallel_residual,
            "positional_embedding_type": "rotary",
            "rotary_dim": int(shared["d_head"] * config.rope_parameters["partial_rotary_factor"]),
            "rotary_base": config.rope_parameters["rope_theta"],
            "rotary_adjacent_pairs": False,
        }
    gemma = {}
    if config.model_type == "gemma2":
        gemma = {
            "act_fn": config.hidden_activation,
            "use_normalization_before_and_after": True,
            "attn_scale": config.query_pre_attn_scalar**0.5,
            "attn_scores_soft_cap": config.attn_logit_softcapping,
            "output_logits_soft_cap": config.final_logit_softcapping,
            "use_local_attn": True,
            "window_size": config.sliding_window,
            "attn_types": ["local" if kind == "sliding_attention" else "global" for kind in config.layer_types],
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
        **gemma,
    }


def build(model: Any, fold_ln: bool = False) -> Any:
    """One of `CONVERTED` as a `HookedTransformer` with the same weights, the norms' own folded into them if asked."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained import weight_conversions

    config = HookedTransformerConfig.from_dict(_config(model))
    hooked = HookedTransformer(config)
    weights = getattr(weight_conversions, f"convert_{CONVERTED[model.config.model_type]}_weights")(model, config)
    hooked.load_and_process_state_dict(
        weights, fold_ln=fold_ln, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    return hooked


@torch.no_grad()
def run(model: Any, ids: Sequence[int]) -> Run:
    """Sites, logits and patterns of one of `CONVERTED` by `HookedTransformer`."""
    hooked = build(model)
    rotary = model.config.model_type != "gpt2"
    logits, cache = hooked.run_with_cache(torch.tensor([list(ids)]))
    names = _SITES | {"q": "attn.hook_rot_q", "k": "attn.hook_rot_k"}
    if hooked.cfg.parallel_attn_mlp:
        names.pop("resid_mid")
    if not rotary:
        names |= {"q": "attn.hook_q", "k": "attn.hook_k"}

    def at(layer: int, hook: str) -> np.ndarray:
        x = cache[f"blocks.{layer}.{hook}"][0]
        return (x.transpose(0, 1) if x.ndim == 3 and "pattern" not in hook else x).numpy()

    layers = range(hooked.cfg.n_layers)
    return Run(
        ids=tuple(ids),
        logits=logits[0].numpy(),
        sites={name: [at(layer, hook) for layer in layers] for name, hook in names.items()},
        patterns=[at(layer, "attn.hook_pattern") for layer in layers],
    )
