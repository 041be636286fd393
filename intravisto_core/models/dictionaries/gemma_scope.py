"""Gemma Scope: `params.npz`, whose folders are its config, and its second edition, with or without a `config.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from intravisto_core.errors import ModelError, expected
from intravisto_core.models.dictionaries.coder import Coder
from intravisto_core.models.dictionaries.dictionary import LayerCoder
from intravisto_core.models.dictionaries.hooks import Form, Hook, read_hook
from intravisto_core.models.dictionaries.tensors import pick_tensors, read_tensors
from intravisto_core.models.files.json_file import read_object
from intravisto_core.sites import FeatureActivation, Site

ARRAYS = "params.npz"
CONFIG, WEIGHTS = "config.json", "params.safetensors"
# as google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71
_PLACE = re.compile(
    r"gemma-scope-(2b|9b|27b)-(pt|it)-(res|mlp|att|transcoders)(?:-\w+)?[/\\](?:.*[/\\])?layer_(\d+)(?:[/\\]|$)"
)
_SITES = {"res": Site.RESID_POST, "mlp": Site.MLP_OUT, "att": Site.Z}
# as google/gemma-scope-2-1b-pt/resid_post_all/layer_10_width_262k_l0_small
_SECOND = re.compile(
    r"gemma-scope-2-(\d+[mb])-(pt|it)[/\\](?:.*[/\\])?(resid_post|attn_out|mlp_out|transcoder)(?:_all)?[/\\]layer_(\d+)_"
)
_ENDS = {
    "resid_post": ("output",) * 2,
    "attn_out": ("self_attn.o_proj.input",) * 2,
    "mlp_out": ("post_feedforward_layernorm.output",) * 2,
    "transcoder": ("pre_feedforward_layernorm.output", "post_feedforward_layernorm.output"),
}
_SKIP = "affine_skip_connection"


def read_first(folder: Path, called: str, where: str) -> tuple[str, LayerCoder]:
    """The name of the model, and the coder, of `params.npz`. called: its path, which says of what it is.

    Raises:
        ModelError: the path does not say it, or the arrays do not fit together.
    """
    found = _PLACE.search(called)
    if found is None:
        raise ModelError(
            f"{where}: expected the folders to say what it is a dictionary of, as on the Hub "
            f"(gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71): {ARRAYS} has no config. Keep their names"
        )
    size, kind, of, number = found.groups()
    model, layer = f"gemma-2-{size}{'-it' if kind == 'it' else ''}", int(number)
    if of == "transcoders":
        reads, writes = Hook(Site.RESID_MID, layer, Form.UNSCALED), Hook(Site.MLP_OUT, layer)
    else:
        reads = writes = Hook(_SITES[of], layer)
    arrays = {_rename(name): array for name, array in read_tensors(folder / ARRAYS, where).items()}
    return model, LayerCoder(reads, writes, _read_coder(arrays, where, skip=False))


def read_second(folder: Path, called: str, where: str) -> tuple[str, LayerCoder]:
    """The same of the second edition. called: its path, which says of what it is where a folder has no config.

    Raises:
        ModelError: its config names something that is not known here, or its weights do not fit it; or it has none, and
            the path does not say it.
    """
    config = read_object(folder / CONFIG, where) if (folder / CONFIG).is_file() else _read_place(called, where)
    for name, known in (("architecture", ("jump_relu",)), ("type", ("sae", "transcoder"))):
        if config.get(name) not in known:
            raise ModelError(expected(f"{where}: {name}", known, config.get(name), "Choose another dictionary"))
    model = config.get("model_name")
    if not isinstance(model, str) or not model:
        raise ModelError(expected(f"{where}: model_name", "the name of the model that it was trained on", model))
    first = config.get("hf_hook_point_in")
    reads, writes = (read_hook(name, where) for name in (first, config.get("hf_hook_point_out") or first))
    if (reads != writes) != (config["type"] == "transcoder"):
        raise ModelError(f"{where}: expected a transcoder to write another place than it reads, and an autoencoder not")
    arrays = {_rename(name): array for name, array in read_tensors(folder / WEIGHTS, where).items()}
    return model, LayerCoder(
        reads, writes, _read_coder(arrays, where, config.get("affine_connection", _SKIP in arrays))
    )


def _read_place(called: str, where: str) -> dict[str, object]:
    """What the config of a folder without one would say."""
    found = _SECOND.search(called)
    if found is None:
        raise ModelError(
            f"{where}: expected a {CONFIG} beside {WEIGHTS}, or folders that say what it is a dictionary of, as on the "
            "Hub (gemma-scope-2-1b-pt/resid_post_all/layer_10_width_262k_l0_small). Keep their names"
        )
    size, kind, of, layer = found.groups()
    ends = [f"model.layers.{layer}.{end}" for end in _ENDS[of]]
    return {
        "architecture": "jump_relu",
        "type": "transcoder" if of == "transcoder" else "sae",
        "model_name": f"google/gemma-3-{size}-{kind}",
        "hf_hook_point_in": ends[0],
        "hf_hook_point_out": ends[1],
    }


def _rename(name: str) -> str:
    return f"W_{name[2:]}" if name.startswith("w_") else name


def _read_coder(found: Mapping[str, Tensor], where: str, skip: object) -> Coder:
    if "W_enc" not in found or found["W_enc"].ndim != 2 or "W_dec" not in found or found["W_dec"].ndim != 2:
        raise ModelError(f"{where}: expected arrays W_enc and W_dec; it has {', '.join(sorted(found))}")
    (width, n), out = found["W_enc"].shape, found["W_dec"].shape[1]
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (width, n), "W_dec": (n, out), "b_enc": (n,), "b_dec": (out,)}
    shapes["threshold"] = (n,)
    if skip:
        shapes[_SKIP] = (width, out)
    parts = pick_tensors(found, shapes, (), where)
    straight = parts.get(_SKIP)
    return Coder(
        FeatureActivation.JUMPRELU,
        parts["W_enc"],
        parts["W_dec"],
        parts["b_enc"],
        parts["b_dec"],
        parts["threshold"],
        skip=None if straight is None else straight.T,
    )
