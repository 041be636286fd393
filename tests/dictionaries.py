"""Made dictionaries: random ones and ones with known features, written as their programs write them; and in NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

Arrays = dict[str, np.ndarray]


def make_arrays(d_in: int, n: int, d_out: int | None = None, seed: int = 0, **more: tuple[int, ...]) -> Arrays:
    """Random weights of n features. more: further arrays by their shapes."""
    draw, out = np.random.default_rng(seed), d_out or d_in
    shapes = {"W_enc": (d_in, n), "W_dec": (n, out), "b_enc": (n,), "b_dec": (out,), **more}
    return {name: (0.3 * draw.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def write_sae(folder: Path, arrays: Arrays, model: str, hook: str, **config: Any) -> Path:
    """A folder of SAELens, as its version 6 writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    n_in, n = arrays["W_enc"].shape
    told = {name: config.pop(name) for name in ("hook_name_out", "model_from_pretrained_kwargs") if name in config}
    facts = {"architecture": "standard", "d_in": n_in, "d_sae": n, "dtype": "float32", **config}
    facts["metadata"] = {"model_name": model, "hook_name": hook, "sae_lens_version": "6.12.1", **told}
    (folder / "cfg.json").write_text(json.dumps(facts))
    save_file(arrays, folder / "sae_weights.safetensors")
    return folder


def write_transcoders(folder: Path, layers: dict[int, Arrays], model: str, reads: str, writes: str, **config) -> Path:
    """A folder of circuit-tracer, whose encoders have a row a feature."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"model_name": model, "model_kind": "transcoder_set", "feature_input_hook": reads}
    (folder / "config.yaml").write_text(yaml.safe_dump({**facts, "feature_output_hook": writes, **config}))
    for layer, arrays in layers.items():
        held = {**arrays, "W_enc": np.ascontiguousarray(arrays["W_enc"].T)}
        save_file(held, folder / f"layer_{layer}.safetensors")
    return folder


def encode(w: Arrays, x: np.ndarray, kind: str, k: int = 0, bias_from_input: bool = True) -> np.ndarray:
    """Activations of one input, in float64, as the programs' own code has them."""
    x = x.astype(np.float64) - (w["b_dec"] if bias_from_input else 0)
    if kind == "gated":
        gate = x @ w["W_enc"] + w["b_gate"]
        return np.maximum(x @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"], 0) * (gate > 0)
    pre = x @ w["W_enc"] + w["b_enc"]
    if kind == "jumprelu":
        return np.maximum(pre, 0) * (pre > w["threshold"])
    if kind == "topk":
        kept = np.zeros_like(pre)
        best = np.argsort(-pre)[:k]
        kept[best] = np.maximum(pre[best], 0)
        return kept
    return np.maximum(pre, 0)


def known(directions: np.ndarray, least: float = 0.0) -> Arrays:
    """An autoencoder whose feature i is active by how far x goes along the i-th direction, if that is above `least`.

    directions: (n, d), of length 1 and at right angles to each other, so that what it makes again is exact along them.
    """
    n, d = directions.shape
    zeros = {"b_enc": np.zeros(n, np.float32), "b_dec": np.zeros(d, np.float32)}
    rows = np.ascontiguousarray(directions, np.float32)
    return {
        "W_enc": np.ascontiguousarray(rows.T),
        "W_dec": rows,
        **zeros,
        "threshold": np.full(n, least, np.float32),
    }
