"""All neurons of one layer at one position: what each writes, by expert where there are any (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.experts import read_mixture, run_expert
from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.models import LoadedModel, NormFormula
from intravisto_core.sites import Lane, LayerPart, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.pieces import Gauge, Piece


@dataclass(frozen=True, slots=True)
class NeuronRows:
    """Neurons of one layer, or of one expert, at one position. w_out: (d, n) float32. weight: of the router."""

    expert: int
    act: Float[Tensor, " n"]
    w_out: Float[Tensor, "d n"]
    bias: Float[Tensor, " d"] | None
    weight: float
    name: str


@dataclass(frozen=True, slots=True)
class LayerNeurons:
    """All neurons of a layer at one position. sizes: (N,) what each writes. pulls: (N, 2).

    norm, sigma: the post-norm at its frozen scale, or None. shift: (d,) what its own shift and the bias write.
    """

    blocks: Sequence[NeuronRows]
    norm: NormFormula | None
    sigma: Tensor
    multiplier: float
    sizes: Float[Tensor, " N"]
    pulls: Float[Tensor, "N 2"]
    shift: Float[Tensor, " d"] | None

    @classmethod
    def of(cls, context: ViewContext, layer: int, position: int, gauge: Gauge) -> LayerNeurons:
        """Read them; no vector of a single neuron is made."""
        model = context.model
        blocks = read_neuron_rows(context, layer, position)
        whole = torch.zeros_like(gauge.readers[0])
        for block in blocks:
            out = block.w_out @ block.act
            whole = whole + block.weight * (out if block.bias is None else out + block.bias)
        norm, multiplier = apply_post_norm(model, layer, "w_out"), model.blueprint.multiplier
        norm = None if norm is None else norm.to(whole.device)
        sigma = whole.new_ones(1) if norm is None else norm.sigma(whole)
        readers = gauge.readers if norm is None else norm.centre(norm.scale * gauge.readers) / sigma
        sizes, pulls = [], []
        for block in blocks:
            lengths = model.weights.lengths(block.name, through(norm))
            sizes.append(block.act.abs() * lengths * abs(multiplier * block.weight) / sigma)
            pulls.append((multiplier * block.weight * block.act * (readers @ block.w_out)).T)
        made = cls(blocks, norm, sigma, multiplier, torch.cat(sizes), torch.cat(pulls).double(), None)
        return cls(blocks, norm, sigma, multiplier, made.sizes, made.pulls, made._find_shift())

    def _find_shift(self) -> Tensor | None:
        """What no expert writes: the post-norm's shift, and outside experts the bias."""
        shift = None
        if self.norm is not None and self.norm.shift is not None:
            shift = self.norm.shift * self.multiplier
        if self.blocks and self.blocks[0].expert < 0 and self.blocks[0].bias is not None:
            own = self.scaled(self.blocks[0].bias)
            shift = own if shift is None else shift + own
        return shift

    def scaled(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """From what the projection gives to what joins the stream."""
        return (x if self.norm is None else self.norm.linear(x, self.sigma)) * self.multiplier

    def place(self, index: int) -> tuple[int, int]:
        """Block and neuron of a number among all."""
        for number, block in enumerate(self.blocks):
            if index < len(block.act):
                return number, index
            index -= len(block.act)
        raise IndexError(index)

    def block_of(self, index: int) -> NeuronRows:
        """The block of a number among all."""
        return self.blocks[self.place(index)[0]]

    def vector(self, index: int) -> Float[Tensor, " d"]:
        """What one neuron writes."""
        number, neuron = self.place(index)
        block = self.blocks[number]
        return self.scaled(block.weight * block.act[neuron] * block.w_out[:, neuron])

    def whole(self, number: int) -> Float[Tensor, " d"]:
        """What all neurons of a block write, without the bias."""
        block = self.blocks[number]
        return self.scaled(block.weight * (block.w_out @ block.act))

    def rows(self, chosen: Sequence[int], number: int) -> list[Piece]:
        """The chosen neurons of a block, and all others of it as one part."""
        block = self.blocks[number]
        rows = [
            Piece(LayerPart.NEURON, Lane.MLP, self.vector(i), neuron, block.expert, act=float(block.act[neuron]))
            for i in chosen
            for _, neuron in (self.place(i),)
        ]
        left = len(block.act) - len(rows)
        if left:
            rest = self.whole(number) - sum((p.vector for p in rows), torch.zeros_like(self.whole(number)))
            rows.append(Piece(LayerPart.OTHERS, Lane.MLP, rest, expert=block.expert, count=left))
        return rows

    def open_expert(self, number: int, chosen: Sequence[int]) -> list[Piece]:
        """An expert, then the parts inside it."""
        block = self.blocks[number]
        inside = self.rows(chosen, number)
        if block.bias is not None:
            bias = self.scaled(block.weight * block.bias)
            inside.append(Piece(LayerPart.MLP_BIAS, Lane.MLP, bias, expert=block.expert))
        total = sum((p.vector for p in inside), torch.zeros_like(inside[0].vector))
        expert = Piece(
            LayerPart.EXPERT, Lane.MLP, total, expert=block.expert, count=len(block.act), weight=block.weight
        )
        return [expert, *inside]


def through(norm: NormFormula | None) -> Callable[[Tensor], Tensor] | None:
    """A post-norm at scale 1, without its shift; None without one."""
    return None if norm is None else lambda x: norm.linear(x, x.new_ones(()))


def read_neuron_rows(context: ViewContext, layer: int, position: int) -> list[NeuronRows]:
    """The neurons of a layer at a position; in a mixture of experts, those of each expert that was chosen there."""
    model, data = context.model, context.data
    if model.blueprint.blocks[layer].experts is None:
        act = data.site(Site.ACT, layer)[position].float()
        return [_rows(model, f"w_out.{layer}", -1, act, 1.0)]
    here = data.routed(layer).at(position)
    ids, weights = read_mixture(model, layer, here)
    found = []
    for expert, weight in zip(ids[0].tolist(), weights[0].tolist(), strict=True):
        run = data.expert(layer, expert, run_expert(model, layer, expert, here), position)
        found.append(_rows(model, f"expert_out.{layer}.{expert}", expert, run.act[0], weight))
    return found


def _rows(model: LoadedModel, name: str, expert: int, act: Tensor, weight: float) -> NeuronRows:
    w_out, bias = model.weights.get(name).float(), model.weights.bias(name)
    return NeuronRows(expert, act.to(w_out.device), w_out, bias, weight, name)
