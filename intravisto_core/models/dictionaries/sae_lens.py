"""Dictionaries of SAELens: a folder with `cfg.json` and `sae_weights.safetensors`, before and since its version 6."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intravisto_core.errors import ModelError, expected
from intravisto_core.models.dictionaries.coder import Coder
from intravisto_core.models.dictionaries.dictionary import LayerCoder
from intravisto_core.models.dictionaries.hooks import Form, Hook, read_hook
from intravisto_core.models.dictionaries.tensors import check_tensor, pick_tensors, read_tensors
from intravisto_core.models.files.json_file import read_object
from intravisto_core.sites import FeatureActivation, InputScaling

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_RELU, _JUMP, _TOPK, _GATED = (
    FeatureActivation.RELU,
    FeatureActivation.JUMPRELU,
    FeatureActivation.TOPK,
    FeatureActivation.GATED,
)
ARCHITECTURES = {
    "standard": _RELU,
    "jumprelu": _JUMP,
    "topk": _TOPK,
    "batchtopk": _JUMP,
    "matryoshka_batchtopk": _JUMP,
    "gated": _GATED,
    "transcoder": _RELU,
    "skip_transcoder": _RELU,
    "jumprelu_transcoder": _JUMP,
    "jumprelu_skip_transcoder": _JUMP,
}
SCALINGS = {
    None: InputScaling.NONE,
    False: InputScaling.NONE,
    "none": InputScaling.NONE,
    "constant_norm_rescale": InputScaling.LENGTH,
    "layer_norm": InputScaling.LAYER_NORM,
}
# earlier versions had other names
_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_layer": "hook_layer",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_FACTORS = ("scaling_factor", "finetuning_scaling_factor")
# what SAELens knows of published repositories, and their own configs do not say
_CENTRED: dict[str, Any] = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "jbloom/GPT2-Small-SAEs-Reformatted": _CENTRED,
    "jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8": _CENTRED,
    "tommmcgrath/gpt2-small-mlp-out-saes": _CENTRED,
    "JoshEngels/Mistral-7B-Residual-Stream-SAEs": {"normalize_activations": "constant_norm_rescale"},
}
_BATCH_THRESHOLD = "topk_threshold"


def read_sae(folder: Path, called: str, where: str) -> tuple[str, LayerCoder]:
    """The name of its model, and its coder. called: its path, which may name a repository that more is known of.

    Raises:
        ModelError: its config names a formula or a place that is not known here, or its weights do not fit it.
    """
    config = read_config(folder, where) | find_published(called)
    reads, writes = _read_hooks(config, where)
    coder = _read_coder(config, read_tensors(folder / WEIGHTS, where), where, transcoder=reads != writes)
    model = config.get("model_name")
    if not isinstance(model, str) or not model:
        raise ModelError(expected(f"{where}: model_name", "the name of the model that it was trained on", model))
    return model, LayerCoder(reads, writes, coder)


def read_config(folder: Path, where: str) -> dict[str, Any]:
    """The config by its present names, what it says of the model beside the rest.

    Raises:
        ModelError: it is damaged.
    """
    given = read_object(folder / CONFIG, where)
    told = given.get("metadata")
    flat = {**given, **(told if isinstance(told, dict) else {})}
    return {_RENAMED.get(name, name): value for name, value in flat.items()}


def find_published(called: str) -> dict[str, Any]:
    """What is known of a published repository, by its name in a path, beside what its configs say."""
    parts = called.partition("@")[0].replace("\\", "/").replace("--", "/").split("/")
    return next((more for name, more in _PUBLISHED.items() if name.rpartition("/")[2] in parts), {})


def _read_hooks(config: Mapping[str, Any], where: str) -> tuple[Hook, Hook]:
    names = [config.get(f"hf_{name}") or config.get(name) for name in ("hook_name", "hook_name_out")]
    layer = config.get("hook_layer")
    reads = read_hook(names[0], where, layer if isinstance(layer, int) else None)
    if config.get("hook_head_index") is not None or config.get("hook_head_index_out") is not None:
        raise ModelError(f"{where}: expected a dictionary of a whole site; this one is of one head alone")
    if names[1] is not None and names[1] != names[0]:
        return reads, read_hook(names[1], where)
    if "transcoder" in str(config.get("architecture")):
        raise ModelError(f"{where}: expected a transcoder's config to name hook_name_out, which it writes; it has none")
    if reads.form in (Form.NORMED, Form.UNSCALED):
        raise ModelError(
            f"{where}: expected an autoencoder of the stream, of attention's or of the MLP's output; this one is of "
            f"{reads.said}, which does not join the stream"
        )
    return reads, reads


def _read_coder(config: Mapping[str, Any], found: dict[str, Tensor], where: str, transcoder: bool) -> Coder:
    architecture = config.get("architecture", "standard")
    k = config.get("k")
    if config.get("activation_fn") == "topk":
        options = config.get("activation_fn_kwargs")
        k = options.get("k") if isinstance(options, dict) else k
        architecture = "topk" if architecture == "standard" else architecture
    elif config.get("activation_fn", "relu") != "relu":
        raise ModelError(expected(f"{where}: activation_fn", ("relu", "topk"), config["activation_fn"]))
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise ModelError(expected(f"{where}: architecture", list(ARCHITECTURES), architecture, "Choose another one"))
    activation, n_in, n = ARCHITECTURES[architecture], _whole(config, "d_in", where), _whole(config, "d_sae", where)
    n_out = _whole(config, "d_out", where) if transcoder and "d_out" in config else n_in
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (n_in, n), "W_dec": (n, n_out), "b_dec": (n_out,)}
    shapes |= dict.fromkeys(("b_gate", "b_mag", "r_mag") if activation is _GATED else ("b_enc",), (n,))
    batch = _BATCH_THRESHOLD in found
    if activation is _JUMP and not batch:
        shapes["threshold"] = (n,)
    if "skip" in architecture:
        shapes["W_skip"] = (n_out, n_in)
    parts = pick_tensors(found, shapes, (*_FACTORS, _BATCH_THRESHOLD), where)
    threshold = parts.get("threshold")
    if activation is _JUMP and batch:
        check_tensor(found[_BATCH_THRESHOLD], _BATCH_THRESHOLD, (), where)
        threshold = found[_BATCH_THRESHOLD].float().expand(n)
    return Coder(
        activation,
        parts["W_enc"],
        parts["W_dec"],
        parts["b_mag" if activation is _GATED else "b_enc"],
        parts["b_dec"],
        threshold,
        k=_read_k(k, n, where) if activation is _TOPK else 0,
        b_gate=parts.get("b_gate"),
        r_mag=parts.get("r_mag"),
        skip=parts.get("W_skip"),
        factor=_read_factor(config, found, n, where),
        centred=_is_centred(config),
        bias_from_input=not transcoder and bool(config.get("apply_b_dec_to_input", True)),
        by_length=bool(config.get("rescale_acts_by_decoder_norm", False)) and (activation is _TOPK or batch),
        scaling=_read_scaling(config, where),
        scaled_back=not transcoder,
    )


def _read_k(k: object, n: int, where: str) -> int:
    if isinstance(k, int | float) and not isinstance(k, bool) and k == int(k) and 1 <= k <= n:
        return int(k)
    raise ModelError(expected(f"{where}: k", f"how many features are active, 1 to {n}", k))


def _read_factor(config: Mapping[str, Any], found: dict[str, Tensor], n: int, where: str) -> Tensor | None:
    """What activations are multiplied with at last; one of ones is none."""
    factor = next((found[name] for name in _FACTORS if name in found), None)
    if factor is None:
        return None
    check_tensor(factor, _FACTORS[0], (n,), where)
    if torch.allclose(factor.float(), torch.ones(n)):
        return None
    if not config.get("finetuning_scaling_factor"):
        raise ModelError(f"{where}: its weights have a scaling_factor, and its config does not say that it is used")
    return factor


def _read_scaling(config: Mapping[str, Any], where: str) -> InputScaling:
    said = config.get("normalize_activations")
    if not isinstance(said, str | bool | None) or said not in SCALINGS:
        todo = "Where it is expected_average_only_in, fold the factor in, since it is not in the files"
        raise ModelError(expected(f"{where}: normalize_activations", [s for s in SCALINGS if s], said, todo))
    return SCALINGS[said]


def _is_centred(config: Mapping[str, Any]) -> bool:
    """Whether it was trained on a model whose writing weights had their mean taken away."""
    options = config.get("model_from_pretrained_kwargs")
    hook = str(config.get("hook_name", ""))
    in_stream = not any(hook.endswith(name) for name in ("hook_z", "hook_normalized", "mlp.hook_in"))
    return in_stream and isinstance(options, dict) and options.get("center_writing_weights") is True


def _whole(config: Mapping[str, Any], name: str, where: str) -> int:
    value = config.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ModelError(expected(f"{where}: {name}", "a whole number above 0", value))
