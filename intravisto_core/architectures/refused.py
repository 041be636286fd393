"""Models that are refused by what their config says, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from intravisto_core.architectures.composite import COMPOSITES

ENCODER_DECODER = "an encoder-decoder: only decoders, which have one stream, can be shown"
LATENT = "multi-head latent attention: its keys and values have no heads of their own to be shown"
NO_ATTENTION = "layers without attention (state-space, linear attention or convolution): they have no pattern to show"
COMPOSITE = "a composite of several models (images or sound and text) whose text model nobody has tried yet"
UNKNOWN = "the installed transformers has no causal language model of this family"

BY_NAME: dict[str, tuple[str, ...]] = {
    LATENT: (
        *("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "glm4_moe_lite", "glm_moe_dsa"),
        *("hy_v4", "longcat_flash", "minicpm3", "mistral4", "youtu"),
    ),
    NO_ATTENTION: (
        *("bailing_hybrid", "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2"),
        *("lfm2_moe", "lfm3", "mamba", "mamba2", "minimax", "nemotron_h", "olmo_hybrid", "qwen3_5_moe_text"),
        *("qwen3_5_text", "qwen3_next", "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2", "zaya"),
    ),
    ENCODER_DECODER: (
        *("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100", "marian"),
        *("mbart", "mt5", "mvp", "nllb-moe", "pegasus", "pegasus_x", "plbart", "prophetnet", "switch_transformers"),
        *("t5", "t5gemma", "t5gemma2", "udop", "umt5", "whisper"),
    ),
}


def refusal(config: Mapping[str, Any]) -> str:
    """Why a model with this config cannot be shown, or ""."""
    family = str(config.get("model_type"))
    for reason, families in BY_NAME.items():
        if family in families:
            return reason
    if config.get("is_encoder_decoder"):
        return ENCODER_DECODER
    if config.get("kv_lora_rank"):
        return LATENT
    kinds = {str(kind) for kind in config.get("layer_types") or ()}
    if any("attention" not in kind or "linear" in kind for kind in kinds):
        return NO_ATTENTION
    if family in COMPOSITES:
        inner = config.get("text_config") or {}
        known = inner.get("model_type") in (None, f"{family}_text")
        return "" if known else refusal(inner)
    if "text_config" in config or "vision_config" in config:
        return COMPOSITE
    return "" if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else UNKNOWN
