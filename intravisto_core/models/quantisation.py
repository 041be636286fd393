"""Matrices of the blocks in 8 or 4 bits through bitsandbytes, on GPU and CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from intravisto_core.errors import MissingProgramError, ModelError, expected
from intravisto_core.request import ModelSpec

INT8, NF4 = "int8", "nf4"
_KINDS = {"Linear8bitLt": INT8, "Linear4bit": NF4}


def config(quantisation: str | None, dtype: torch.dtype) -> Any:
    """transformers' configuration of a quantisation that computes in `dtype`, or None.

    Raises:
        MissingProgramError: bitsandbytes is not installed.
    """
    if quantisation is None:
        return None
    _require(f"quantisation {quantisation!r}")
    from transformers import BitsAndBytesConfig

    if quantisation == INT8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _require(what: str) -> None:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingProgramError(
            f"{what}: expected the package bitsandbytes; it is not installed. "
            "Install it (pip install 'intravisto[quantisation]'), or choose no quantisation"
        ) from None
    # One warning a matrix and call, about a cast that LLM.int8 is defined by.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def check_stored(model_config: dict[str, Any], name: str) -> None:
    """Refuse a checkpoint whose own quantisation could not be undone for the sums over heads and neurons.

    Raises:
        ModelError: it is quantised otherwise than by bitsandbytes.
    """
    stored = model_config.get("quantization_config")
    if stored is None or stored == {}:
        return
    if not isinstance(stored, dict):
        raise ModelError(
            f"{name}: {expected('quantization_config in config.json', 'an object', stored, 'Download the file again')}"
        )
    method = str(stored.get("quant_method") or "an unnamed method")
    if method != "bitsandbytes":
        raise ModelError(
            f"{name}: expected plain weights, or bitsandbytes'; these were packed by {method}, which cannot be "
            "unpacked here for the sums over heads and neurons. Choose the original model, with int8 or nf4 where it "
            "is too large"
        )


def check_asked(model_config: dict[str, Any], spec: ModelSpec, name: str) -> None:
    """Refuse what cannot be done with a checkpoint that is packed already.

    Raises:
        ModelError: it would be packed twice, given another dtype, or left on disk.
        MissingProgramError: bitsandbytes is not installed.
    """
    if not model_config.get("quantization_config"):
        return
    for option, usual in (("quantisation", None), ("dtype", "auto")):
        if (asked := getattr(spec, option)) != usual:
            raise ModelError(
                f"{name}: expected {option}={usual!r} for weights that are packed already; got {asked!r}. Open it "
                "without, or choose the original model"
            )
    if spec.device_map == "offload":
        raise ModelError(
            f"{name}: expected device_map 'auto', 'cpu' or 'cuda' for packed weights, which are not read from disk "
            "piece by piece; got 'offload'. Open it without, or choose the original model"
        )
    _require("these weights")


def kind_of(module: nn.Module) -> str | None:
    """How a module's matrix is packed, or None where it is not."""
    return _KINDS.get(type(module).__name__) if type(module).__module__.startswith("bitsandbytes") else None


def quantised(network: nn.Module) -> str | None:
    """How a network is quantised, or None."""
    return next((kind for kind in map(kind_of, network.modules()) if kind), None)


def keep_packed_as_loaded(network: nn.Module) -> None:
    """Hold 4-bit matrices in the form in which they were loaded.

    On a CPU with AVX512-BF16 the first call would repack them in place for another product, whose results differ from
    the dequantised matrix by 4e-3, and whose layout is lost on the way to a file or to a sum over heads.
    """
    for module in network.modules():
        if kind_of(module) == NF4:
            layer: Any = module
            layer.support_avx512bf16_for_cpu = False


def dequantised(module: nn.Module, dtype: torch.dtype, rows: slice | Tensor | None = None) -> Tensor:
    """The matrix (out, in) that a packed module stands for, or some of its rows."""
    layer: Any = module
    if kind_of(module) == INT8:
        # until the first call bitsandbytes keeps both on the weight, afterwards in the module's state
        packed = layer.weight.CB if layer.weight.CB is not None else layer.state.CB
        scale = layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB
        if rows is not None:
            packed, scale = packed[rows], scale[rows]
        return (packed.float() * (scale.float()[..., None] / 127)).to(dtype)
    from bitsandbytes.functional import dequantize_4bit

    whole: Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
    return whole if rows is None else whole[rows]


def n_parameters(network: nn.Module) -> int:
    """How many numbers a network was trained to have, however they are stored."""
    return sum(_numbers(module) for module in _once(network))


def _numbers(module: nn.Module) -> int:
    layer: Any = module
    if kind_of(module) == NF4:
        return int(layer.out_features * layer.in_features + (0 if layer.bias is None else layer.bias.numel()))
    return sum(p.numel() for p in module.parameters(recurse=False))


def resident_bytes(network: nn.Module) -> int:
    """What the weights take in memory, those left on disk not counted."""
    held = sum(p.nbytes for p in network.parameters() if p.device.type != "meta")
    return held + sum(_scale_bytes(module) for module in network.modules() if kind_of(module))


def _once(network: nn.Module) -> Iterator[nn.Module]:
    """Every module that has parameters of its own; a tied table's second module is left out."""
    seen: set[int] = set()
    for module in network.modules():
        own = {id(p) for p in module.parameters(recurse=False)}
        if own - seen:
            seen |= own
            yield module


def _scale_bytes(module: nn.Module) -> int:
    """What a packed matrix takes besides its parameters: scales, and the scales' own scales."""
    layer: Any = module
    if kind_of(module) == INT8:
        scale = layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB
        return int(scale.nbytes)
    state = layer.weight.quant_state
    parts = (state.absmax, state.code, *((state.state2.absmax, state.state2.code) if state.nested else ()))
    return sum(int(t.nbytes) for t in parts)
