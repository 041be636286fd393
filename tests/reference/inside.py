"""What one layer of a plain transformers model wrote, part by part, in float64; written from the models' own code.

Nothing of `intravisto_core` is used here. Every part is a vector of the stream's space.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.reference.families import Plain

Vector = np.ndarray
W_O = {"gpt2": "attn.c_proj", "gptj": "attn.out_proj"}
W_OUT = {"gpt2": "mlp.c_proj", "gptj": "mlp.fc_out"}
NORMS = {"gpt2": "transformer.ln_f", "gptj": "transformer.ln_f"}


def numbers(x: torch.Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


class Inside:
    """One layer at one position. heads: (H, d). sources: (H, T, d). neurons: (n, d), or by expert."""

    def __init__(self, plain: Plain, layer: int, position: int) -> None:
        self.plain, self.layer, self.position, self.kind = plain, layer, position, plain.kind
        self.model: Any = plain.model
        self.block = plain.layers[layer]
        self.centred = self.kind in ("gpt2", "gptj")
        self._attention()
        self._mlp()

    def _matrix(self, path: str) -> tuple[np.ndarray, Vector]:
        """(out, in) and the bias."""
        module = self.block.get_submodule(path)
        weight = numbers(module.weight)
        weight = weight.T if self.kind == "gpt2" else weight
        bias = np.zeros(len(weight)) if module.bias is None else numbers(module.bias)
        return weight, bias

    def _post(self, name: str, whole: Vector) -> np.ndarray:
        """A diagonal: what a post-norm multiplies each number with at its frozen scale."""
        if self.kind != "gemma2":
            return np.ones(len(whole))
        norm = self.block.get_submodule(name)
        return (1 + numbers(norm.weight)) / np.sqrt((whole**2).mean() + norm.eps)

    def _attention(self) -> None:
        sites, i = self.plain.sites, self.position
        w_o, bias = self._matrix(W_O.get(self.kind, "self_attn.o_proj"))
        z = sites["z"][self.layer][:, i].astype(np.float64)
        split = w_o.reshape(len(w_o), len(z), -1).transpose(1, 0, 2)
        heads = np.stack([split[h] @ z[h] for h in range(len(z))])
        scale = self._post("post_attention_layernorm", heads.sum(0) + bias)
        v, pattern = sites["v"][self.layer].astype(np.float64), self.plain.patterns[self.layer][:, i].astype(np.float64)
        group = len(heads) // len(v)
        values = np.stack([v[h // group] @ split[h].T for h in range(len(heads))])
        self.pattern = pattern[:, : values.shape[1]]
        self.values = values * scale
        self.sources = self.pattern[:, :, None] * self.values
        self.heads, self.attention_bias = heads * scale, bias * scale

    def _mlp(self) -> None:
        i, mixture = self.position, getattr(self.plain, "experts", None)
        if mixture is not None and not mixture[self.layer].sparse:
            self._whole_mlp()
            return
        self.experts: dict[int, tuple[float, Vector, np.ndarray, Vector]] = {}
        if mixture is not None and mixture[self.layer].sparse:
            part = mixture[self.layer]
            x = part.given[i]
            for weight, expert in zip(part.weights[i].tolist(), part.chosen[i].tolist(), strict=True):
                down = numbers(part.mlp.experts.down_proj[expert])
                stored_by_input = self.kind == "gpt_oss"
                bias = numbers(part.mlp.experts.down_proj_bias[expert]) if stored_by_input else np.zeros(len(down))
                act = numbers(part.act(expert, x))
                columns = down if stored_by_input else down.T
                self.experts[expert] = (weight, act, weight * act[:, None] * columns, weight * bias)
            return
        w_out, bias = self._matrix(W_OUT.get(self.kind, "mlp.down_proj"))
        self.act = self.plain.sites["act"][self.layer][i].astype(np.float64)
        scale = self._post("post_feedforward_layernorm", w_out @ self.act + bias)
        self.neurons, self.mlp_bias = (self.act[:, None] * w_out.T) * scale, bias * scale

    def _whole_mlp(self) -> None:
        """An ordinary MLP between mixtures: expert 0, of weight 1."""
        mlp, x = self.block.mlp, torch.tensor(self.plain.sites["resid_mid"][self.layer][self.position])
        with torch.no_grad():
            x = self.block.post_attention_layernorm(x[None])[0]
            act = numbers(torch.nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
        columns = numbers(mlp.down_proj.weight).T
        self.experts = {0: (1.0, act, act[:, None] * columns, np.zeros(columns.shape[1]))}

    def state(self, name: str) -> Vector:
        found: Vector = self.plain.sites[name][self.layer][self.position].astype(np.float64)
        return found

    def _norm(self) -> tuple[Vector, Vector, float]:
        module = self.model.get_submodule(NORMS.get(self.kind, "model.norm"))
        gamma = numbers(module.weight) + (1.0 if self.kind == "gemma2" else 0.0)
        beta = numbers(module.bias) if self.centred else np.zeros_like(gamma)
        eps = getattr(module, "eps", None) or module.variance_epsilon
        return gamma, beta, float(eps)

    def centre(self, x: np.ndarray) -> np.ndarray:
        return x - x.mean(-1, keepdims=True) if self.centred else x

    def change(self, x: np.ndarray, sigma_of: Vector) -> np.ndarray:
        """Change of all logits by updates, at the scale of a stream."""
        gamma, _, eps = self._norm()
        sigma = np.sqrt((self.centre(sigma_of) ** 2).mean() + eps)
        return (gamma * self.centre(x) / sigma) @ self.table.T

    @property
    def table(self) -> np.ndarray:
        return numbers(self.model.get_output_embeddings().weight)

    def logits(self, x: Vector) -> Vector:
        """The output lens with the final norm, soft-capped."""
        gamma, beta, eps = self._norm()
        x = self.centre(x)
        bias = self.model.get_output_embeddings().bias
        z = self.table @ (gamma * x / np.sqrt((x**2).mean() + eps) + beta) + (0 if bias is None else numbers(bias))
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return cap * np.tanh(z / cap) if cap else z

    def pull(self, x: np.ndarray, target: int, contrast: int | None) -> np.ndarray:
        """What updates add to the target's logit above the mean, or less the contrast's, at the final scale."""
        final = self.plain.sites["resid_post"][-1][self.position].astype(np.float64)
        z = self.change(x, final)
        return z[..., target] - (z.mean(-1) if contrast is None else z[..., contrast])


def log_softmax(z: Vector) -> Vector:
    z = z - z.max()
    return z - np.log(np.exp(z).sum())


def entropy(z: Vector) -> float:
    log_p = log_softmax(z)
    return float(-(np.exp(log_p) * log_p).sum())


def divergence(z: Vector, other: Vector) -> float:
    log_p, log_q = log_softmax(z), log_softmax(other)
    return float((np.exp(log_p) * (log_p - log_q)).sum())
