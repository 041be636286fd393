"""What single heads and neurons write (docs/methods.md §1: head_out; §2, identities 6 and 7)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel, NormFormula


def compute_head_outputs(model: LoadedModel, layer: int, z: Float[Tensor, "H T d_v"]) -> Float[Tensor, "H T d"]:
    """`z W_O` of every head, before post-norm and multiplier, float32."""
    w_o = model.weights.get(f"w_o.{layer}").float()
    split = w_o.view(w_o.shape[0], z.shape[0], z.shape[2])
    return torch.einsum("htv,dhv->htd", z.float(), split)


def split_attention(
    model: LoadedModel, layer: int, z: Float[Tensor, "H T d_v"]
) -> tuple[Float[Tensor, "H T d"], Float[Tensor, "T d"]]:
    """`head_out` of every head and the bias part: together they are `attn_out`, float32.

    A head's part is `m · P_lin(z W_O[h])`, P the post-norm with its scale frozen at the run's value; the bias part is
    what P and m make of W_O's bias, with P's own shift.
    """
    written = compute_head_outputs(model, layer, z)
    bias = model.weights.bias(f"w_o.{layer}")
    rest = torch.zeros_like(written[0]) if bias is None else bias.expand_as(written[0])
    norm = apply_post_norm(model, layer, "w_o")
    if norm is not None:
        sigma = norm.sigma(written.sum(0) + rest)
        written, rest = norm.linear(written, sigma), norm.linear(rest, sigma)
        rest = rest if norm.shift is None else rest + norm.shift
    return written * model.blueprint.multiplier, rest * model.blueprint.multiplier


def compute_head_outs(model: LoadedModel, layer: int, z: Float[Tensor, "H T d_v"]) -> Float[Tensor, "H T d"]:
    """`head_out`: what every head adds to the stream."""
    return split_attention(model, layer, z)[0]


def sum_neurons(model: LoadedModel, layer: int, act: Float[Tensor, "T d_mlp"]) -> Float[Tensor, "T d"]:
    """All neurons and the bias together: `mlp_out`, rebuilt."""
    total = act.float() @ model.weights.get(f"w_out.{layer}").float().T
    bias = model.weights.bias(f"w_out.{layer}")
    return scale_to_stream(model, layer, total if bias is None else total + bias, "w_out")


def apply_post_norm(model: LoadedModel, layer: int, matrix: str) -> NormFormula | None:
    """The norm between a projection ("w_o" or "w_out") and the stream, where the family has one."""
    block, architecture = model.blueprint.blocks[layer], model.blueprint.architecture
    module = block.attn_post_norm if matrix == "w_o" else block.mlp_post_norm
    return None if module is None else NormFormula.of(module, architecture)


def scale_to_stream(
    model: LoadedModel, layer: int, projected: Float[Tensor, "T d"], matrix: str
) -> Float[Tensor, "T d"]:
    """Post-norm and residual multiplier: from what a projection gives to what is added to the stream."""
    norm = apply_post_norm(model, layer, matrix)
    return (projected if norm is None else norm(projected)) * model.blueprint.multiplier
