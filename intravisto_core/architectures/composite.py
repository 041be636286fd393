"""Checkpoints that hold a text model among others, as of images: the text model is shown, the others are left out."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

COMPOSITES = ("gemma3", "llama4", "llava", "mistral3", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe")


def auto_class(config: Any) -> Any:
    """The class of transformers that builds a model of this config with its head over the vocabulary."""
    return AutoModelForImageTextToText if config.model_type in COMPOSITES else AutoModelForCausalLM
