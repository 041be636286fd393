"""What single heads and neurons write (docs/methods.md §1: head_out; §2, identities 6 and 7)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel, NormFormula


def head_outputs(model: LoadedModel, layer: int, z: Float[Tensor, "H T d_v"]) -> Float[Tensor, "H T d"]:
    """`z W_O` of every head, before post-norm and multiplier, float32."""
    w_o = model.weights.get(f"w_o.{layer}").float()
    split = w_o.view(w_o.shape[0], z.shape[0], z.shape[2])
    return torch.einsum("htv,dhv->htd", z.float(), split)


def head_outs(model: LoadedModel, layer: int, z: Float[Tensor, "H T d_v"]) -> Float[Tensor, "H T d"]:
    """`head_out`: what every head adds to the stream, `m · P_lin(z W_O[h])`, P's scale frozen at the run's value."""
    written = head_outputs(model, layer, z)
    norm = post_norm(model, layer, "w_o")
    if norm is not None:
        bias = model.weights.bias(f"w_o.{layer}")
        whole = written.sum(0) if bias is None else written.sum(0) + bias
        written = norm.linear(written, norm.sigma(whole))
    return written * model.blueprint.multiplier


def attention_from_heads(model: LoadedModel, layer: int, z: Float[Tensor, "H T d_v"]) -> Float[Tensor, "T d"]:
    """All heads and the bias part together: `attn_out`, rebuilt."""
    total = head_outputs(model, layer, z).sum(0)
    return to_stream(model, layer, total, "w_o")


def mlp_from_neurons(model: LoadedModel, layer: int, act: Float[Tensor, "T d_mlp"]) -> Float[Tensor, "T d"]:
    """All neurons and the bias together: `mlp_out`, rebuilt."""
    total = act.float() @ model.weights.get(f"w_out.{layer}").float().T
    return to_stream(model, layer, total, "w_out")


def post_norm(model: LoadedModel, layer: int, matrix: str) -> NormFormula | None:
    """The norm between a projection ("w_o" or "w_out") and the stream, where the family has one."""
    block, architecture = model.blueprint.blocks[layer], model.blueprint.architecture
    module = block.attn_post_norm if matrix == "w_o" else block.mlp_post_norm
    return None if module is None else NormFormula.of(module, architecture)


def to_stream(model: LoadedModel, layer: int, projected: Float[Tensor, "T d"], matrix: str) -> Float[Tensor, "T d"]:
    """Bias, post-norm and residual multiplier: from the projection's sum to what is added to the stream."""
    bias = model.weights.bias(f"{matrix}.{layer}")
    if bias is not None:
        projected = projected + bias
    norm = post_norm(model, layer, matrix)
    return (projected if norm is None else norm(projected)) * model.blueprint.multiplier
