"""Plain transformers with hooks of the tests' own: the reference for everything that a trace holds.

Nothing of `intravisto_core` is used here. The whole text is run in one call, without a cache, with eager
attention; queries and keys are computed again from the inputs of the attention modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer


@dataclass(frozen=True)
class Run:
    """One text through the model: float32 arrays, one entry a layer; heads lead where a site has them."""

    ids: tuple[int, ...]
    logits: np.ndarray
    sites: dict[str, list[np.ndarray]]
    patterns: list[np.ndarray]


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The checkpoint as transformers loads it, with eager attention."""
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()


def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def generate(model: Any, ids: Sequence[int], n: int) -> list[int]:
    """All ids after transformers' own greedy `generate`."""
    with torch.no_grad():
        out = model.generate(
            torch.tensor([list(ids)]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=n,
            do_sample=False,
        )
    return out[0].tolist()


@contextmanager
def _listening(taps: list[tuple[nn.Module, str, Callable[[Any], None]]]) -> Iterator[None]:
    handles = []
    for module, side, keep in taps:
        if side == "in":

            def before(_: nn.Module, args: Any, kwargs: Any, keep: Callable[[Any], None] = keep) -> None:
                keep(args[0] if args else kwargs["hidden_states"])

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:

            def after(_: nn.Module, args: Any, out: Any, keep: Callable[[Any], None] = keep) -> None:
                keep(out[0] if isinstance(out, tuple) else out)

            handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _llama_taps(model: Any, layer: Any) -> dict[str, tuple[nn.Module, str]]:
    gemma = model.config.model_type == "gemma2"
    return {
        "resid_pre": (layer, "in"),
        "attn_out": (layer.post_attention_layernorm, "out") if gemma else (layer.self_attn, "out"),
        "resid_mid": (layer.pre_feedforward_layernorm if gemma else layer.post_attention_layernorm, "in"),
        "mlp_out": (layer.post_feedforward_layernorm, "out") if gemma else (layer.mlp, "out"),
        "resid_post": (layer, "out"),
        "z": (layer.self_attn.o_proj, "in"),
        "act": (layer.mlp.down_proj, "in"),
        "attention_input": (layer.self_attn.q_proj, "in"),
    }


def _gpt2_taps(layer: Any) -> dict[str, tuple[nn.Module, str]]:
    return {
        "resid_pre": (layer, "in"),
        "attn_out": (layer.attn, "out"),
        "resid_mid": (layer.ln_2, "in"),
        "mlp_out": (layer.mlp, "out"),
        "resid_post": (layer, "out"),
        "z": (layer.attn.c_proj, "in"),
        "act": (layer.mlp.c_proj, "in"),
        "attention_input": (layer.attn.c_attn, "in"),
    }


def _heads(x: torch.Tensor, n: int) -> torch.Tensor:
    return x.reshape(x.shape[0], n, -1).transpose(0, 1)


def _rotate(x: torch.Tensor, base: float) -> torch.Tensor:
    """RoPE written out: dimension i turns with dimension i + d/2 by position · base^(−2i/d)."""
    n_positions, d = x.shape[-2:]
    angle = torch.arange(n_positions)[:, None] * base ** (-torch.arange(0, d, 2) / d)[None, :]
    first, second = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def _llama_qkv(config: Any, attention: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    q = _heads(attention.q_proj(x), config.num_attention_heads)
    k = _heads(attention.k_proj(x), config.num_key_value_heads)
    v = _heads(attention.v_proj(x), config.num_key_value_heads)
    if hasattr(attention, "q_norm"):
        q, k = attention.q_norm(q), attention.k_norm(k)
    base = config.rope_parameters["rope_theta"]
    return _rotate(q, base), _rotate(k, base), v


def _gpt2_qkv(config: Any, attention: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(_heads(part, config.n_head) for part in attention.c_attn(x).chunk(3, dim=-1))


@torch.no_grad()
def run(model: Any, ids: Sequence[int]) -> Run:
    """All sites of docs/methods.md §1, the logits and every pattern for a text."""
    gpt2 = model.config.model_type == "gpt2"
    layers = model.transformer.h if gpt2 else model.model.layers
    kept: dict[str, list[torch.Tensor]] = {}
    taps = []
    for layer in layers:
        places = _gpt2_taps(layer) if gpt2 else _llama_taps(model, layer)
        for name, (module, side) in places.items():
            taps.append((module, side, lambda x, name=name: kept.setdefault(name, []).append(x[0].clone())))
    with _listening(taps):
        out = model(torch.tensor([list(ids)]), output_attentions=True, use_cache=False)

    multiplier = getattr(model.config, "residual_multiplier", 1.0)
    for name in ("attn_out", "mlp_out"):
        kept[name] = [x * multiplier for x in kept[name]]
    kept["z"] = [_heads(x, model.config.num_attention_heads) for x in kept["z"]]
    for layer, x in zip(layers, kept.pop("attention_input"), strict=True):
        qkv = _gpt2_qkv(model.config, layer.attn, x) if gpt2 else _llama_qkv(model.config, layer.self_attn, x)
        for name, value in zip("qkv", qkv, strict=True):
            kept.setdefault(name, []).append(value)
    return Run(
        ids=tuple(ids),
        logits=out.logits[0].float().numpy(),
        sites={name: [x.float().numpy() for x in values] for name, values in kept.items()},
        patterns=[a[0].float().numpy() for a in out.attentions],
    )


def error(got: np.ndarray, reference: np.ndarray) -> float:
    """The largest e over positions: ‖Δ‖₂ / max(‖ref‖₂, 1e-6·median) (docs/methods.md §2)."""
    assert got.shape == reference.shape, f"{got.shape} is not {reference.shape}"
    reference = reference.astype(np.float64)
    size = np.linalg.norm(reference, axis=-1)
    floor = np.maximum(size, 1e-6 * np.median(size))
    return float((np.linalg.norm(got.astype(np.float64) - reference, axis=-1) / floor).max())
