"""Direct logit attribution: one partition of the final stream (docs/methods.md §6).

Every part is a dot product with one vector g, for which ⟨part, g⟩ is ⟨N_lin(part), D⟩ times the logit scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Part

MEAN = -1  # in place of a token id: the mean over the vocabulary
MEAN_SHOWN = "mean over the vocabulary"


@dataclass(frozen=True, slots=True)
class Direction:
    """What the logit difference reads of the normed state: `⟨x̂, d⟩ + bias`, before the logit scale.

    contrast: a token id, or −1 for the mean over the vocabulary.
    """

    target: int
    contrast: int
    d: Float[Tensor, " d"]
    bias: float | None

    @classmethod
    def of(cls, model: LoadedModel, target: int, contrast: int) -> Direction:
        """`U[target] − U[contrast]`, or less the mean row."""
        rows = model.weights.get("unembed", torch.tensor([target, max(contrast, 0)], device=model.device)).float()
        other = model.weights.mean_row("unembed") if contrast < 0 else rows[1]
        b = model.weights.bias("unembed")
        bias = None if b is None else float(b[target].double() - (b.double().mean() if contrast < 0 else b[contrast]))
        return cls(target, contrast, rows[0] - other.to(rows.device), bias)

    def pick(self, logits: Float[Tensor, " V"]) -> float:
        """The same difference of given logits."""
        z = logits.double()
        return float(z[self.target] - (z.mean() if self.contrast < 0 else z[self.contrast]))


@dataclass(frozen=True, slots=True)
class NeuronBlock:
    """Neurons of one layer at one position: all, or those of one expert (−1: no experts).

    matrix: name of W_out. act: (n,). weight: of the router, 1 without one.
    """

    expert: int
    matrix: str
    act: Float[Tensor, " n"]
    weight: float = 1.0


@dataclass(slots=True)
class Partition:
    """Parts in the order in which they are added, each group as one row of values."""

    kinds: list[Part] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    experts: list[int] = field(default_factory=list)
    values: list[Float[Tensor, " n"]] = field(default_factory=list)

    def add(self, kind: Part, values: Tensor | float, layer: int = -1, expert: int = -1) -> None:
        """Add one part, or a row of heads or neurons."""
        self.kinds.append(kind)
        self.layers.append(layer)
        self.experts.append(expert)
        self.values.append(torch.as_tensor(values, dtype=torch.float64).reshape(-1).cpu())


def compute_reader(model: LoadedModel, direction: Direction, final: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """g: `scale · centre(γ ⊙ D) / σ`, σ of the final stream at that position."""
    pulled = model.norm.centre(model.norm.scale * direction.d) / model.norm.sigma(final.float())
    return pulled * model.blueprint.logit_scale


def compute_uncapped_logits(model: LoadedModel, final: Float[Tensor, " d"]) -> Float[Tensor, " V"]:
    """The model's own logits at one position, by its own norm and head, before the soft-cap; float32."""
    out: Tensor = model.blueprint.unembed(model.blueprint.final_norm(final[None].to(model.dtype)))
    return out[0].float() * model.blueprint.logit_scale


def cap_logits(model: LoadedModel, logits: Float[Tensor, " V"]) -> Float[Tensor, " V"]:
    """The soft-cap, where the model has one."""
    limit = model.blueprint.soft_cap
    return torch.tanh(logits / limit) * limit if limit else logits


def has_position_table(model: LoadedModel) -> bool:
    """Whether learned positions are added to the token embeddings."""
    modules = model.network.base_model.modules()
    return any(isinstance(m, nn.Embedding) and m is not model.blueprint.embed for m in modules)


def add_embeddings(partition: Partition, model: LoadedModel, token: int, x: Float[Tensor, " d"], g: Tensor) -> None:
    """What enters the first block: the token's embedding, and the learned position where there is one."""
    if not has_position_table(model):
        partition.add(Part.EMBEDDING, x.float() @ g)
        return
    embedding = model.weights.get("embed", torch.tensor([token], device=model.device))[0].float()
    partition.add(Part.EMBEDDING, embedding @ g)
    partition.add(Part.POSITION, (x.float() - embedding) @ g)


def add_biases(partition: Partition, model: LoadedModel, direction: Direction) -> None:
    """The final norm's own shift, and the unembedding's bias."""
    scale = model.blueprint.logit_scale
    if model.norm.shift is not None:
        partition.add(Part.NORM_BIAS, scale * (model.norm.shift @ direction.d))
    if direction.bias is not None:
        partition.add(Part.UNEMBED_BIAS, scale * direction.bias)


def add_heads(partition: Partition, model: LoadedModel, layer: int, z: Float[Tensor, "H d_v"], g: Tensor) -> None:
    """The attention of a layer by heads, and what its biases write."""
    name = f"w_o.{layer}"
    w_o, bias = model.weights.get(name).float(), model.weights.bias(name)
    flat = z.float().flatten()
    whole = w_o @ flat if bias is None else w_o @ flat + bias
    pulled, shift = _through(model, layer, "w_o", whole, g)
    partition.add(Part.HEAD, (flat * (pulled @ w_o)).view(z.shape).sum(-1), layer)
    if bias is not None or shift is not None:
        fixed = 0.0 if bias is None else float(bias @ pulled)
        partition.add(Part.ATTENTION_BIAS, fixed + (shift or 0.0), layer)


def add_neurons(partition: Partition, model: LoadedModel, layer: int, blocks: Sequence[NeuronBlock], g: Tensor) -> None:
    """The MLP of a layer by neurons, and what its biases write."""
    weights, biases = {}, {}
    whole = torch.zeros_like(g)
    for block in blocks:
        weights[block.expert] = model.weights.get(block.matrix).float()
        bias = model.weights.bias(block.matrix)
        if bias is not None:
            biases[block.expert] = bias
        out = weights[block.expert] @ block.act.float()
        whole = whole + block.weight * (out if bias is None else out + bias)
    pulled, shift = _through(model, layer, "w_out", whole, g)
    for block in blocks:
        values = block.weight * block.act.float() * (pulled @ weights[block.expert])
        partition.add(Part.NEURON, values, layer, block.expert)
    if biases or shift is not None:
        fixed = sum(b.weight * float(biases[b.expert] @ pulled) for b in blocks if b.expert in biases)
        partition.add(Part.MLP_BIAS, fixed + (shift or 0.0), layer)


def _through(
    model: LoadedModel, layer: int, matrix: str, whole: Float[Tensor, " d"], g: Float[Tensor, " d"]
) -> tuple[Float[Tensor, " d"], float | None]:
    """g as the projection's output sees it, through multiplier and post-norm at its frozen scale; that norm's shift."""
    norm, multiplier = apply_post_norm(model, layer, matrix), model.blueprint.multiplier
    if norm is None:
        return g * multiplier, None
    shift = None if norm.shift is None else multiplier * float(norm.shift @ g)
    return norm.centre(norm.scale * g) / norm.sigma(whole) * multiplier, shift
