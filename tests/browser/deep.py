"""A model of many layers and a long context, whose grid is large and whose runs take a while."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tests import tiny

LAYERS, CONTEXT = 78, 2048


def write(folder: Path) -> Path:
    """The folder of a random Llama with the tests' byte-level tokenizer."""
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": LAYERS, "max_position_embeddings": CONTEXT, "eos_token_id": None}
    config = LlamaConfig(**tiny.llama_settings(**sizes))
    return tiny.save_model(AutoModelForCausalLM.from_config(config).eval(), folder)
