"""Transcoders of circuit-tracer: a folder with `config.yaml` and one `layer_i.safetensors` for every layer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from intravisto_core.errors import ModelError, expected
from intravisto_core.models.dictionaries.coder import Coder
from intravisto_core.models.dictionaries.dictionary import LayerCoder
from intravisto_core.models.dictionaries.hooks import read_hook
from intravisto_core.models.dictionaries.tensors import pick_tensors, read_tensors
from intravisto_core.sites import FeatureActivation

CONFIG = "config.yaml"
LAYER = re.compile(r"layer_(\d+)\.safetensors")
LARGEST_CONFIG = 1 << 20
_THRESHOLD = "activation_function.threshold"


def read_config(folder: Path, where: str) -> dict[str, Any]:
    """The config of a set of transcoders.

    Raises:
        ModelError: it is damaged, or of something else.
    """
    file = folder / CONFIG
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise ValueError("it is too long")
        found = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:160]
        told = f"{where}: expected {CONFIG} to be YAML; it is damaged ({reason}). Download it again"
        raise ModelError(told) from None
    if isinstance(found, dict) and "transcoders" in found:
        raise ModelError(
            f"{where}: {CONFIG} names files of other repositories (transcoders: …). Add the folder of one of them"
        )
    kind = found.get("model_kind") if isinstance(found, dict) else None
    if kind != "transcoder_set":
        todo = "Cross-layer transcoders, which write to many layers at once, are not shown"
        raise ModelError(expected(f"{where}: model_kind", "transcoder_set", kind, todo))
    return dict(found)


def read_transcoders(folder: Path, where: str, layers: frozenset[int] | None) -> tuple[str, dict[int, LayerCoder]]:
    """The name of the model, and the coders by layer. layers: which are wanted; None is all.

    Raises:
        ModelError: the config names a formula or a place that is not known here, or weights do not fit.
    """
    config = read_config(folder, where)
    model = config.get("model_name")
    if not isinstance(model, str) or not model:
        raise ModelError(expected(f"{where}: model_name", "the name of the model that it was trained on", model))
    files = {int(m[1]): p for p in folder.iterdir() if (m := LAYER.fullmatch(p.name))}
    wanted = sorted(files if layers is None else layers)
    missing = [str(layer) for layer in wanted if layer not in files]
    if missing or not wanted:
        named = f"layer_{missing[0]}.safetensors" if missing else "layer_0.safetensors and so on"
        raise ModelError(f"{where}: expected {named}; it is not there. It has layers {sorted(files)}")
    found = {}
    for layer in wanted:
        own = f"{where}, layer {layer}"
        reads = read_hook(config.get("feature_input_hook"), own, layer)
        writes = read_hook(config.get("feature_output_hook"), own, layer)
        if reads == writes:
            raise ModelError(f"{own}: expected a transcoder, which writes another place than it reads ({reads.said})")
        found[layer] = LayerCoder(reads, writes, _read_coder(config, read_tensors(files[layer], own), own))
    return model, found


def _read_coder(config: dict[str, Any], found: dict[str, Tensor], where: str) -> Coder:
    said = config.get("activation")
    if said not in (None, "relu", "topk", "jump_relu", "jumprelu"):
        raise ModelError(expected(f"{where}: activation", ("relu", "topk", "jump_relu"), said))
    if "W_enc" not in found or found["W_enc"].ndim != 2:
        raise ModelError(f"{where}: expected an array W_enc of features × numbers; it has {', '.join(sorted(found))}")
    n, width = found["W_enc"].shape
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (n, width), "W_dec": (n, width), "b_enc": (n,), "b_dec": (width,)}
    jumps = _THRESHOLD in found and said not in ("relu", "topk")
    if jumps:
        shapes[_THRESHOLD] = (n,)
    elif said in ("jump_relu", "jumprelu"):
        raise ModelError(f"{where}: expected {_THRESHOLD}, since its activation is JumpReLU; it is not there")
    if "W_skip" in found:
        shapes["W_skip"] = (width, width)
    parts = pick_tensors(found, shapes, ("k", _THRESHOLD), where)
    k = int(found["k"]) if "k" in found and found["k"].numel() == 1 else config.get("k")
    tops = said == "topk" or (said is None and "k" in found)
    if tops and not (isinstance(k, int) and 1 <= k <= n):
        todo = f"Write it into {CONFIG} where you know it"
        raise ModelError(expected(f"{where}: k", f"how many features are active, 1 to {n}", k, todo))
    kind = FeatureActivation.TOPK if tops else FeatureActivation.JUMPRELU if jumps else FeatureActivation.RELU
    return Coder(
        kind,
        parts["W_enc"].T,
        parts["W_dec"],
        parts["b_enc"],
        parts["b_dec"],
        parts.get(_THRESHOLD),
        k=int(k) if tops and k is not None else 0,
        skip=parts.get("W_skip"),
        clipped=kind is FeatureActivation.RELU,
        scaled_back=False,
    )
