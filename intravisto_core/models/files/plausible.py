"""Sizes of a config beside the headers of the weights, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from intravisto_core.errors import ModelError
from intravisto_core.models.files.checkpoint import TensorHeader

# Matrices that a model has by these two sizes may be packed in half a byte; what is far beyond all numbers in the files
# is no size of their model.
_FAR = 8
_PRODUCTS = (
    ("vocab_size", "hidden_size"),
    ("hidden_size", "hidden_size"),
    ("intermediate_size", "hidden_size"),
    ("moe_intermediate_size", "hidden_size"),
    ("num_attention_heads", "hidden_size"),
)
_EXPERTS = (("num_experts", "hidden_size"), ("num_local_experts", "hidden_size"))


def check_plausible(settings: Any, tensors: Iterable[TensorHeader], name: str) -> None:
    """Refuse a config whose sizes the weights cannot have: to build such a model could take hours, or all memory.

    settings: transformers' configuration. tensors: headers of all weights. name: how messages call the folder.

    Raises:
        ModelError: it has more layers than the weights, or sizes far beyond all their numbers.
    """
    texts, tensors = settings.get_text_config(), list(tensors)
    n_layers = 1 + max((layer for t in tensors if (layer := _layer(t.name)) is not None), default=-1)
    if texts.num_hidden_layers > n_layers:
        raise ModelError(
            f"{name}: expected num_hidden_layers in config.json to be at most {n_layers}, the layers that the weights "
            f"have; got {texts.num_hidden_layers}. They do not belong together: download the model again"
        )
    most = _FAR * sum(t.numel for t in tensors)
    # some configs state a number of experts for models that have none
    experts = _EXPERTS if getattr(texts, "is_moe", True) else ()
    for first, second in (*_PRODUCTS, *experts):
        one, other = getattr(texts, first, None), getattr(texts, second, None)
        if isinstance(one, int) and isinstance(other, int) and one * other > most:
            raise ModelError(
                f"{name}: expected sizes in config.json that its weights have; {first} {one:,} and {second} "
                f"{other:,} are far beyond all {most // _FAR:,} numbers in them. They do not belong together: "
                "download the model again"
            )


def _layer(tensor: str) -> int | None:
    """The first number among the parts of a name."""
    return next((int(part) for part in tensor.split(".") if part.isdecimal() and len(part) < 10), None)
