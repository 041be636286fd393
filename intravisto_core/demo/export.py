"""Writes a trained network as a folder that transformers opens."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from intravisto_core.demo.network import Network, Shape
from intravisto_core.demo.tokenizer import BEGIN, END, special_id


def export(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights, configuration and tokenizer into the folder, over what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    begin, end = special_id(tokenizer, BEGIN), special_id(tokenizer, END)
    weights = save(transformers_weights(network), metadata={"format": "pt"})
    (folder / "model.safetensors").write_bytes(weights)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", _model_config(network.shape, begin, end))
    _write(folder / "generation_config.json", _generation_config(begin, end))
    _write(folder / "tokenizer_config.json", _tokenizer_config(network.shape.context))


def transformers_weights(network: Network) -> dict[str, torch.Tensor]:
    """The network's parameters under the names of `LlamaForCausalLM`, in float32."""
    return {
        name if name.startswith("lm_head.") else f"model.{name}": parameter.detach().float().contiguous()
        for name, parameter in network.named_parameters()
    }


def _model_config(shape: Shape, begin: int, end: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.d_model,
        "intermediate_size": shape.d_mlp,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_heads,
        "head_dim": shape.d_head,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": end,
        "use_cache": True,
    }


def _generation_config(begin: int, end: int) -> dict[str, object]:
    return {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": end, "do_sample": False}


def _tokenizer_config(context: int) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
