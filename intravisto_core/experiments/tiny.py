"""Tiny random models of every declared family, to be held to the identities in seconds and without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from intravisto_core.architectures import auto_class

VOCABULARY = 97
CONTEXT = 64
WINDOW = 4
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _config(name: str, /, **changes: Any) -> Callable[[], Any]:
    """A config of Llama's size, 4 heads on 2 kv heads; a change to None leaves a name out."""
    base = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        **_IDS,
    }
    values = {key: value for key, value in (base | changes).items() if value is not None}
    return lambda: getattr(transformers, f"{name}Config")(**values)


def _old(name: str, /, **changes: Any) -> Callable[[], Any]:
    """A config of a family with as many kv heads as heads."""
    return _config(name, num_key_value_heads=None, **changes)


def _composite(name: str, text: Callable[[], Any], vision: str | None = None, /, **changes: Any) -> Callable[[], Any]:
    """A text model of the usual size beside a tower for images as small as it will be built."""
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "depth": 1, "num_attention_heads": 2}
    tower |= {"num_heads": 2, "image_size": 14, "patch_size": 7, "embed_dim": 16, "out_hidden_size": 32} | changes

    def config() -> Any:
        inner = text().to_dict()
        images = tower if vision is None else tower | {"model_type": vision}
        return getattr(transformers, f"{name}Config")(text_config=inner, vision_config=images, **_IDS)

    return config


_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
_BARE = dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"))
_FALCON = {"intermediate_size": None, "ffn_hidden_size": 128}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_GEMMA = {"head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8, "tie_word_embeddings": True}
_NEO = {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": WINDOW}
_LLAMA4 = {
    **_LOCAL_EXPERTS,
    "num_experts_per_tok": 1,
    "head_dim": 8,
    "num_hidden_layers": 4,
    "moe_layers": [1, 3],
    "intermediate_size_mlp": 40,
    "attention_chunk_size": WINDOW,
}
_MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
_DEEP: dict[str, Any] = {"deepstack_visual_indexes": []}
_LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": 48,
}

CONFIGS: dict[str, Callable[[], Any]] = {
    "GPT-2": _old("GPT2", **_BARE, max_position_embeddings=None, **_GPT2),
    "GPT-Neo": _old("GPTNeo", **_BARE | {"hidden_size": 32}, **_NEO),
    "GPT-J": _old("GPTJ", **_BARE, max_position_embeddings=None, **_GPT2, rotary_dim=4),
    "GPT-NeoX, parallel": _old("GPTNeoX", use_parallel_residual=True),
    "GPT-NeoX, serial": _old("GPTNeoX", use_parallel_residual=False),
    "OPT": _old("OPT", intermediate_size=None, ffn_dim=48, word_embed_proj_dim=32),
    "Bloom": _old("Bloom", **_BARE | {"hidden_size": 32}, n_layer=2, n_head=4, max_position_embeddings=None),
    "Falcon, 7B": _old("Falcon", **_FALCON, multi_query=True, parallel_attn=True, alibi=False),
    "Falcon, new decoder": _old("Falcon", **_FALCON, num_kv_heads=2, new_decoder_architecture=True, alibi=False),
    "Falcon, ALiBi": _old("Falcon", **_FALCON, multi_query=False, parallel_attn=False, alibi=True, bias=True),
    "MPT": _old("Mpt", **_BARE, d_model=32, n_layers=2, n_heads=4, max_position_embeddings=None, max_seq_len=CONTEXT),
    "Llama": _config("Llama"),
    "Llama, dynamic RoPE": _config("Llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
    "Mistral": _config("Mistral", sliding_window=WINDOW),
    "Ministral 3": _config("Ministral3", head_dim=8),
    "Mixtral": _config("Mixtral", **_LOCAL_EXPERTS),
    "Qwen2": _config("Qwen2"),
    "Qwen2-MoE": _config("Qwen2Moe", **_EXPERTS, moe_intermediate_size=24, shared_expert_intermediate_size=40),
    "Qwen3": _config("Qwen3", head_dim=12),
    "Qwen3-MoE": _config("Qwen3Moe", **_EXPERTS, head_dim=8, moe_intermediate_size=24, mlp_only_layers=[0]),
    "Gemma": _config("Gemma", head_dim=8, tie_word_embeddings=True),
    "Gemma-2": _config("Gemma2", **_GEMMA, final_logit_softcapping=6.0, attn_logit_softcapping=3.0),
    "Gemma-3": _config("Gemma3Text", **_GEMMA | {"num_hidden_layers": 6}),
    "Phi": _config("Phi"),
    "Phi-3": _config("Phi3", sliding_window=WINDOW),
    "Phi-3, long RoPE": _config("Phi3", rope_parameters=_LONG_ROPE, original_max_position_embeddings=48),
    "Phi-MoE": _config("Phimoe", **_LOCAL_EXPERTS, sliding_window=WINDOW),
    "OLMo": _config("Olmo", clip_qkv=0.05),
    "OLMo-2": _config("Olmo2"),
    "OLMo-3": _config("Olmo3", sliding_window=WINDOW, num_hidden_layers=4),
    "OLMoE": _config("Olmoe", **_EXPERTS),
    "StableLM, serial": _config("StableLm"),
    "StableLM, parallel": _config("StableLm", use_parallel_residual=True, qk_layernorm=True),
    "StarCoder2": _config("Starcoder2", sliding_window=WINDOW),
    "Cohere": _config("Cohere", use_qk_norm=True, logit_scale=0.5, tie_word_embeddings=True),
    "Cohere-2": _config("Cohere2", sliding_window=WINDOW, logit_scale=0.5, num_hidden_layers=4),
    "Granite": _config(
        "Granite", residual_multiplier=0.22, embedding_multiplier=3.0, attention_multiplier=0.3, logits_scaling=0.5
    ),
    "GLM": _config("Glm", head_dim=8),
    "GLM-4": _config("Glm4", head_dim=8),
    "SmolLM3": _config("SmolLM3", num_hidden_layers=4),
    "Nemotron": _config("Nemotron"),
    "Gemma-3 with images": _composite(
        "Gemma3", _config("Gemma3Text", **_GEMMA | {"num_hidden_layers": 6}), "siglip_vision_model"
    ),
    "Mistral-3 with images": _composite("Mistral3", _config("Mistral", sliding_window=WINDOW), "pixtral"),
    "LLaVA with images": _composite("Llava", _config("Llama"), "clip_vision_model"),
    "Llama-4 with images": _composite("Llama4", _config("Llama4Text", **_LLAMA4)),
    "Qwen2-VL with images": _composite("Qwen2VL", _config("Qwen2VLText", rope_parameters=_MROPE)),
    "Qwen2.5-VL with images": _composite("Qwen2_5_VL", _config("Qwen2_5_VLText", rope_parameters=_MROPE)),
    "Qwen3-VL with images": _composite("Qwen3VL", _config("Qwen3VLText", head_dim=8, rope_parameters=_MROPE), **_DEEP),
    "Qwen3-VL-MoE with images": _composite(
        "Qwen3VLMoe",
        _config("Qwen3VLMoeText", **_EXPERTS, head_dim=8, moe_intermediate_size=24, rope_parameters=_MROPE),
        **_DEEP,
    ),
    "gpt-oss": _config("GptOss", **_LOCAL_EXPERTS, head_dim=8, sliding_window=WINDOW),
}

# Families that are not declared, to be tried by structure.
UNDECLARED: dict[str, Callable[[], Any]] = {
    "Apertus": _config("Apertus"),
    "Arcee": _config("Arcee"),
    "ERNIE 4.5": _config("Ernie4_5"),
    "EXAONE 4": _config("Exaone4", sliding_window=WINDOW),
    "GPT-BigCode": _old("GPTBigCode", **_BARE, max_position_embeddings=None, **_GPT2),
    "Granite-MoE": _config("GraniteMoe", residual_multiplier=0.3, logits_scaling=2.0),
    "Jais 2": _config("Jais2"),
    "NanoChat": _config("NanoChat"),
    "Seed-OSS": _config("SeedOss", head_dim=8),
    "BitNet": _config("BitNet"),
}

REFUSED: dict[str, Callable[[], Any]] = {
    "OPT, norm after the addition": _old("OPT", intermediate_size=None, ffn_dim=48, do_layer_norm_before=False),
    "OPT, narrow tables": _old("OPT", intermediate_size=None, ffn_dim=48, word_embed_proj_dim=16),
    "Bloom, residual after the norm": _old(
        "Bloom", **_BARE | {"hidden_size": 32}, n_layer=2, n_head=4, apply_residual_connection_post_layernorm=True
    ),
    "Doge": _config("Doge"),
    "CodeGen": _old("CodeGen", **_BARE, max_position_embeddings=None, **_GPT2, rotary_dim=4),
    "BioGPT": _old("BioGpt"),
}


def build(config: Any, seed: int = 0) -> Any:
    """A random model in float32 with norms and biases that are not 1 and 0."""
    torch.manual_seed(seed)
    model = auto_class(config).from_config(config, attn_implementation="eager").eval().float()
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, dtype=torch.float32, generator=generator) * 0.1)
    return model


def write(config: Any, folder: Path) -> Path:
    """Save a random model of that config, with a tokenizer of as many words, as a checkpoint folder."""
    words = {f"w{i}": i for i in range(VOCABULARY)}
    backend = Tokenizer(WordLevel(words, unk_token="w3"))
    backend.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="w0", bos_token="w1", eos_token="w2", unk_token="w3"
    )
    transformers_logging.disable_progress_bar()
    build(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
