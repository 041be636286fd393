"""Interventions by hand on plain transformers: one call over the whole text, no cache, hooks of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tests.reference.families import LLAMA_PATHS, PATHS, Plain

NewRows = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Hand:
    """New rows for old ones at some positions of a site. columns: from and to, of a head or neuron; None is all."""

    site: str
    layer: int
    positions: tuple[int, ...]
    new: NewRows
    columns: tuple[int, int] | None = None

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """x: (T, width)."""
        out, at, columns = x.clone(), list(self.positions), slice(*(self.columns or (None,)))
        out[at, columns] = self.new(x[at, columns])
        return out


def run(plain: Plain, ids: tuple[int, ...], *hands: Hand) -> np.ndarray:
    """The last stream (T, d) of the text with those changes."""
    final: list[torch.Tensor] = []
    with ExitStack() as stack, torch.no_grad():
        for hand in hands:
            _hook(stack, plain, ids, hand)
        keep = lambda _, args, out: final.append(_first(out))  # noqa: E731
        stack.callback(plain.layers[-1].register_forward_hook(keep).remove)
        plain.model(torch.tensor([ids]), use_cache=False)
    return final[0][0].float().numpy()


def _first(out: Any) -> torch.Tensor:
    return out[0] if isinstance(out, tuple) else out


def _hook(stack: ExitStack, plain: Plain, ids: tuple[int, ...], hand: Hand) -> None:
    attn_out, mlp_out, w_o, w_out, _ = PATHS.get(plain.kind, LLAMA_PATHS)
    layer = plain.layers[hand.layer]
    m = getattr(plain.config, "residual_multiplier", 1.0)
    inputs = {"resid_pre": "", "z": w_o, "act": w_out}
    outputs = {"attn_out": (attn_out, m), "mlp_out": (mlp_out, m), "resid_post": ("", 1.0)}
    if hand.site in inputs:

        def before(_: Any, args: Any, kwargs: Any) -> Any:
            x = args[0] if args else kwargs["hidden_states"]
            new = hand.apply(x.reshape(-1, x.shape[-1])).view(x.shape)
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        module = layer.get_submodule(inputs[hand.site])
        stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        return
    # What is changed after attention comes to what attention must have written for it.
    path, m = (attn_out, m) if hand.site == "resid_mid" else outputs[hand.site]
    added = torch.zeros(())
    if hand.site == "resid_mid":
        old = torch.tensor(plain.sites["resid_mid"][hand.layer])
        added = hand.apply(old) - old

    def after(_: Any, args: Any, out: Any) -> Any:
        x = _first(out)
        rows = x.reshape(-1, x.shape[-1])
        new = rows + added / m if hand.site == "resid_mid" else hand.apply(rows * m) / m
        return (new.view(x.shape), *out[1:]) if isinstance(out, tuple) else new.view(x.shape)

    stack.callback(layer.get_submodule(path).register_forward_hook(after).remove)


def knocked_out(plain: Plain, layer: int, edges: list[tuple[int, int, int]]) -> np.ndarray:
    """z (T, H·d_v) of a layer when edges (head, query, key) are cut: `P keep / (1 − Σ P cut)` times v, 0 for no key."""
    pattern, v = plain.patterns[layer].astype(np.float64), plain.sites["v"][layer].astype(np.float64)
    v = np.repeat(v, pattern.shape[0] // v.shape[0], 0)
    cut = np.zeros(pattern.shape, bool)
    for edge in edges:
        cut[edge] = True
    left = 1 - (pattern * cut).sum(-1, keepdims=True)
    rows = np.where(left > 1e-9, pattern * ~cut / np.maximum(left, 1e-9), 0)
    return (rows @ v).transpose(1, 0, 2).reshape(v.shape[1], -1).astype(np.float32)
