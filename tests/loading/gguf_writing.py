"""Tiny models written to GGUF by the package gguf, in the layout in which llama.cpp's converter writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import AutoModelForCausalLM

from tests import tiny

Array = np.ndarray
ARCHITECTURES = {"qwen3_moe": "qwen3moe", "gemma3_text": "gemma3"}
RMS = ("llama", "qwen2", "qwen3", "qwen3moe", "phi3", "gemma2", "gemma3")
CONTROL, NORMAL = 3, 1


def write(
    model: Any,
    file: Path,
    *,
    kind: str = "F32",
    tokens: Sequence[str] = tiny.VOCABULARY,
    changes: Callable[[gguf.GGUFWriter], None] | None = None,
    leave_out: Iterable[str] = (),
    split: str = "gpt-2",
    bos: bool | None = True,
) -> Path:
    """Write a model of transformers with the tiny tokenizer.

    kind: of quantisation of the matrices whose rows are long enough. changes: adds to the metadata. leave_out: keys
    that are not written. split: the name of the way to split a text. bos: whether BOS is put first; None is not said.
    """
    config = model.config
    architecture = ARCHITECTURES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(file, architecture)
    for key, value in _keys(config, architecture).items():
        if key not in leave_out and value is not None:
            add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, bool: writer.add_bool}
            add[type(value)](f"{architecture}.{key}", value)
    _add_tokenizer(writer, tokens, config.vocab_size, split)
    if bos is not None:
        writer.add_add_bos_token(bos)
    if changes is not None:
        changes(writer)
    for name, tensor in tensors(model, architecture).items():
        long = tensor.ndim == 2 and kind != "F32" and tensor.shape[1] % 32 == 0
        if long:
            number = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quantize(tensor, number), raw_dtype=number)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def of_folder(folder: Path, file: Path, **options: Any) -> Path:
    """Write the model of a folder."""
    return write(AutoModelForCausalLM.from_pretrained(folder), file, **options)


def _keys(config: Any, architecture: str) -> dict[str, Any]:
    """What llama.cpp's converter writes of a configuration."""
    n_heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    rotary = getattr(config, "rope_parameters", None) or {}
    whole = rotary.get("full_attention", rotary)
    eps = next(float(getattr(config, n)) for n in _EPS if hasattr(config, n))
    found: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        "attention.head_count": n_heads,
        "attention.head_count_kv": getattr(config, "num_key_value_heads", None),
        "attention.layer_norm_rms_epsilon" if architecture in RMS else "attention.layer_norm_epsilon": eps,
    }
    if whole:
        found["rope.freq_base"] = float(whole["rope_theta"])
        if whole.get("rope_type") == "linear":
            found |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(whole["factor"])}
        found["rope.dimension_count"] = int(width * whole.get("partial_rotary_factor", 1.0))
    if architecture in ("llama", "qwen3", "qwen3moe", "gemma2", "gemma3"):
        found |= {"attention.key_length": width, "attention.value_length": width}
    if architecture in ("phi3", "gemma2", "gemma3"):
        found["attention.sliding_window"] = config.sliding_window
    if architecture == "gemma2":
        found |= {key: getattr(config, key) for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    if architecture == "qwen3moe":
        found |= {"expert_count": config.num_experts, "expert_used_count": config.num_experts_per_tok}
        found["expert_feed_forward_length"] = config.moe_intermediate_size
    if architecture == "stablelm":
        found["use_parallel_residual"] = config.use_parallel_residual
    return found


_EPS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: Sequence[str], n: int, split: str) -> None:
    tokens = [*tokens, *(f"[PAD{i}]" for i in range(len(tokens), n))]
    special = {tiny.PAD, tiny.BOS, tiny.EOS, 3, *range(len(tiny.VOCABULARY), n)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if i in special else NORMAL for i in range(n)])
    # the writer leaves out an empty list of merges; from scores the reader finds that there are none
    writer.add_token_scores([0.0] * n)
    writer.add_bos_token_id(tiny.BOS)
    writer.add_eos_token_id(tiny.EOS)
    writer.add_pad_token_id(tiny.PAD)
    writer.add_unk_token_id(3)


def tensors(model: Any, architecture: str) -> dict[str, Array]:
    """A model's weights under llama.cpp's names, in its layout."""
    config = model.config
    number = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    found: dict[str, Array] = {}
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value = parameter.float().numpy()
        if name.endswith("experts.gate_up_proj"):
            block = name.split(".")[2]
            for part, half in zip(("gate", "up"), np.split(value, 2, axis=1), strict=True):
                found[f"blk.{block}.ffn_{part}_exps.weight"] = np.ascontiguousarray(half)
            continue
        if name.endswith("experts.down_proj"):
            found[f"blk.{name.split('.')[2]}.ffn_down_exps.weight"] = value
            continue
        key = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert key is not None, name
        found[key] = np.ascontiguousarray(_laid_out(value, name, config, architecture))
    return found


def _laid_out(value: Array, name: str, config: Any, architecture: str) -> Array:
    if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
        n = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        return interleaved(value, n)
    if architecture == "gpt2" and value.ndim == 2 and ("attn" in name or "mlp" in name):
        return value.T
    if architecture in ("gemma2", "gemma3", "nemotron") and "norm" in name and name.endswith("weight"):
        return value + 1
    return value


def interleaved(value: Array, n_heads: int) -> Array:
    """Rows of queries or keys in the order of llama.cpp, which turns neighbours instead of halves of a head."""
    halves = value.reshape(n_heads, 2, value.shape[0] // n_heads // 2, *value.shape[1:])
    return halves.swapaxes(1, 2).reshape(value.shape)
