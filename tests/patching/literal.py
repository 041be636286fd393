"""Patching as a literal loop: one full run of plain transformers a cell, with hooks of the tests' own.

Nothing of `intravisto_core` is used here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from tests.interventions import manual
from tests.reference.families import LLAMA_PATHS, PATHS, Plain

STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
HEADS = ("z", "q", "k", "v", "pattern")


class Literal:
    """Two prompts of one length on one model; `donor` and `receiver` are plain runs."""

    def __init__(self, donor: Plain, receiver: Plain, ids: tuple[int, ...]) -> None:
        self.donor, self.receiver, self.ids = donor, receiver, ids

    def logits(self, site: str, layer: int, positions: tuple[int, ...], head: int | None = None) -> np.ndarray:
        """The receiver's last logits with the donor's values there."""
        if site in ("q", "k", "v", "pattern"):
            with self._inside(site, layer, positions, head), torch.no_grad():
                out = self.receiver.model(torch.tensor([self.ids]), use_cache=False)
            return out.logits[0, -1].float().numpy()
        values = torch.tensor(self.donor_rows(site, layer))
        columns = None
        if head is not None:
            width = values.shape[1] // self.receiver.config.num_attention_heads
            columns = (head * width, (head + 1) * width)
            values = values[:, slice(*columns)]
        hand = manual.Hand(site, layer, positions, lambda _: values[list(positions)], columns)
        final = manual.run(self.receiver, self.ids, hand)
        return self._read(final[-1:])[0]

    def donor_rows(self, site: str, layer: int) -> np.ndarray:
        """(T, width), heads side by side."""
        x = self.donor.sites[site][layer]
        return x.transpose(1, 0, 2).reshape(x.shape[1], -1) if x.ndim == 3 else x

    def _read(self, final: np.ndarray) -> np.ndarray:
        model = self.receiver.model
        trunk = model.base_model
        norm = next(getattr(trunk, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(trunk, n))
        with torch.no_grad():
            z = model.get_output_embeddings()(norm(torch.tensor(final)))
        cap = getattr(self.receiver.config, "final_logit_softcapping", None)
        return (torch.tanh(z / cap) * cap if cap else z).float().numpy()

    @contextmanager
    def _inside(self, site: str, layer: int, positions: tuple[int, ...], head: int | None) -> Iterator[None]:
        """The family's own eager attention, given other q, k or v, or with other rows of its pattern."""
        path = PATHS.get(self.receiver.kind, LLAMA_PATHS)[2].rpartition(".")[0]
        module = self.receiver.layers[layer].get_submodule(path)
        code = sys.modules[type(module).__module__]
        eager, at = code.eager_attention_forward, list(positions)
        heads = slice(None) if head is None else slice(head, head + 1)

        def attention(own: Any, q: Any, k: Any, v: Any, *rest: Any, **options: Any) -> Any:
            if own is not module:
                return eager(own, q, k, v, *rest, **options)
            given = {"q": q.clone(), "k": k.clone(), "v": v.clone()}
            if site != "pattern":
                given[site][0, heads, at] = torch.tensor(self.donor.sites[site][layer])[heads, at]
                return eager(own, *given.values(), *rest, **options)
            out, weights = eager(own, q, k, v, *rest, **options)
            weights, out = weights.clone(), out.clone()
            weights[0, heads, at] = torch.tensor(self.donor.patterns[layer])[heads, at]
            wide = v.repeat_interleave(weights.shape[1] // v.shape[1], 1)
            mixed = (weights @ wide).transpose(1, 2)
            out[0, at, heads] = mixed[0, at, heads]
            return out, weights

        with patch.object(code, "eager_attention_forward", attention):
            yield
