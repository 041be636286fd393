"""Models that are refused by what their config says, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

_ENCODER_DECODERS = {
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100", "marian", "mbart",
    "mt5", "mvp", "nllb-moe", "pegasus", "pegasus_x", "plbart", "prophetnet", "switch_transformers", "t5", "t5gemma",
    "t5gemma2", "udop", "umt5", "whisper",
}  # fmt: skip
_LATENT_ATTENTION = {
    "axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "glm4_moe_lite", "glm_moe_dsa",
    "hy_v4", "longcat_flash", "minicpm3", "mistral4", "youtu",
}  # fmt: skip
_NO_ATTENTION = {
    "bailing_hybrid", "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2",
    "lfm2_moe", "lfm3", "mamba", "mamba2", "minimax", "nemotron_h", "olmo_hybrid", "qwen3_5_moe_text", "qwen3_5_text",
    "qwen3_next", "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2", "zaya",
}  # fmt: skip

_OTHER_LAYERS = "layers without attention (state-space, linear attention or convolution): they have no pattern to show"


def refusal(config: Mapping[str, Any]) -> str:
    """Why a model with this config cannot be shown, or ""."""
    family = str(config.get("model_type"))
    if config.get("is_encoder_decoder") or family in _ENCODER_DECODERS:
        return "an encoder-decoder: only decoders, which have one stream, can be shown"
    if config.get("kv_lora_rank") or family in _LATENT_ATTENTION:
        return "multi-head latent attention: its keys and values have no heads of their own to be shown"
    kinds = {str(kind) for kind in config.get("layer_types") or ()}
    if family in _NO_ATTENTION or any("attention" not in kind or "linear" in kind for kind in kinds):
        return _OTHER_LAYERS
    if "text_config" in config or "vision_config" in config:
        return "a composite of several models (images or sound and text): only models of text alone can be shown yet"
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "the installed transformers has no causal language model of this family"
    return ""
