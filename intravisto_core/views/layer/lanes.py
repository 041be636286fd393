"""What attention and the MLP of one layer write at one position, cut into parts that add up (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.experts import read_mixture, run_expert
from intravisto_core.analysis.parts import apply_post_norm, split_attention
from intravisto_core.errors import ModelError
from intravisto_core.models import LoadedModel, NormFormula
from intravisto_core.sites import Lane, LayerPart, LayerWidth, Site
from intravisto_core.tracing.edited import EditedData
from intravisto_core.views.context import ViewContext
from intravisto_core.views.junctions import rebuild_streams

# of what a lane writes; more is no rounding
LARGEST_ROUNDING = 5e-2
SMALLEST_EDIT = 1e-4
# what a lane writes, and where it is in the stream
_SITES = {Lane.ATTENTION: (Site.ATTN_OUT, Site.RESID_MID), Lane.MLP: (Site.MLP_OUT, Site.RESID_POST)}


@dataclass(slots=True)
class Piece:
    """One part of what a layer writes. vector: (d,) float32, through post-norm and multiplier."""

    kind: LayerPart
    lane: Lane
    vector: Float[Tensor, " d"]
    index: int = -1
    expert: int = -1
    count: int = 1
    act: float = nan
    weight: float = nan

    @property
    def nested(self) -> bool:
        """Whether it lies inside the part of an expert."""
        return self.expert >= 0 and self.kind is not LayerPart.EXPERT


@dataclass(slots=True)
class LaneParts:
    """The parts of one lane, those with rows of their own first. sizes: of all single heads or neurons.

    total: (d,) what the lane brings to the stream: the sum of its parts. rounding: what the stream has besides.
    """

    pieces: list[Piece] = field(default_factory=list)
    sizes: Tensor = field(default_factory=lambda: torch.zeros(0))
    total: Tensor = field(default_factory=lambda: torch.zeros(0))
    rounding: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(frozen=True, slots=True)
class Gauge:
    """What parts are measured by. readers: (2, d) of pull and versus, see `compute_reader`. width: what orders rows."""

    readers: Float[Tensor, "2 d"]
    width: LayerWidth

    def pulls(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
        """Pull and versus of vectors, float64."""
        return vectors.double() @ self.readers.double().T

    def choose(self, sizes: Tensor, pulls: Float[Tensor, "n 2"], n: int) -> list[int]:
        """The n parts whose measure is largest, the largest first."""
        column = {LayerWidth.PULL: 0, LayerWidth.VERSUS: 1}.get(self.width)
        measure = sizes if column is None else pulls[:, column].abs()
        return measure.topk(min(n, len(measure))).indices.tolist()


def split_attention_lane(context: ViewContext, layer: int, position: int, gauge: Gauge, n: int) -> LaneParts:
    """The heads of a layer, the n largest apart, its bias, and what an edit put there."""
    data, at = context.data, slice(position, position + 1)
    written, rest = split_attention(context.model, layer, data.site(Site.Z, layer)[:, at])
    heads, bias = written[:, 0], rest[0]
    sizes = heads.norm(dim=-1)
    chosen = gauge.choose(sizes, gauge.pulls(heads), n)
    lane = LaneParts(sizes=sizes)
    lane.pieces = [Piece(LayerPart.HEAD, Lane.ATTENTION, heads[h], h) for h in chosen]
    left = sorted(set(range(len(heads))) - set(chosen))
    if left:
        lane.pieces.append(Piece(LayerPart.OTHERS, Lane.ATTENTION, heads[left].sum(0), count=len(left)))
    if bool(bias.any()):
        lane.pieces.append(Piece(LayerPart.ATTENTION_BIAS, Lane.ATTENTION, bias))
    _close(context, lane, Lane.ATTENTION, layer, position)
    return lane


def split_mlp_lane(context: ViewContext, layer: int, position: int, gauge: Gauge, n: int) -> LaneParts:
    """The neurons of a layer, the n largest apart, its biases, and what an edit put there; by expert."""
    neurons = LayerNeurons.of(context, layer, position, gauge)
    lane = LaneParts(sizes=neurons.sizes)
    chosen = gauge.choose(neurons.sizes, neurons.pulls, n)
    if any(block.expert >= 0 for block in neurons.blocks):
        for number, block in enumerate(neurons.blocks):
            lane.pieces += neurons.open_expert(number, [i for i in chosen if neurons.block_of(i) is block])
    else:
        lane.pieces += neurons.rows(chosen, 0)
    if neurons.shift is not None and bool(neurons.shift.any()):
        lane.pieces.append(Piece(LayerPart.MLP_BIAS, Lane.MLP, neurons.shift))
    _close(context, lane, Lane.MLP, layer, position)
    return lane


def _close(context: ViewContext, lane: LaneParts, which: Lane, layer: int, position: int) -> None:
    """What the stream has besides the parts: an edit's part, or rounding.

    Raises:
        ModelError: it is neither.
    """
    data, parts = context.data, [p.vector for p in lane.pieces if not p.nested]
    lane.total = sum(parts, torch.zeros_like(data.final[position].float()))
    wanted = _joined(context, which, layer, position)
    rest = wanted - lane.total
    share = float(rest.norm()) / max(float(wanted.norm()), float(lane.total.norm()), 1e-12)
    if share > SMALLEST_EDIT and _was_written(context, which, layer, position):
        lane.pieces.append(Piece(LayerPart.INTERVENTION, which, rest))
        lane.total = wanted
    elif share > LARGEST_ROUNDING:
        raise ModelError(
            f"layer {layer}, position {position}: expected parts that add up to what {which.label} wrote; they miss "
            f"{share:.0%} of it, so they are not shown. Trace the text again"
        )
    lane.rounding = _read_step(context, which, layer, position) - lane.total


def _was_written(context: ViewContext, which: Lane, layer: int, position: int) -> bool:
    """Whether an edit put something where a lane joins the stream."""
    data, edits = context.data, context.entry.request.interventions
    out, after = _SITES[which]
    bound = data.edits.sites if isinstance(data, EditedData) and data.edits is not None else ()
    if any(e.layer == layer and e.site is out and position in e.places for e in bound):
        return True
    anywhere = bool(context.entry.only_once) or any(e.site is None for e in edits)
    return anywhere or (after, layer) in rebuild_streams(context)


def _joined(context: ViewContext, which: Lane, layer: int, position: int) -> Float[Tensor, " d"]:
    """What a lane brought to the stream, with what an edit of the stream put in right after it."""
    out, after = _SITES[which]
    between = after is Site.RESID_MID and context.model.blueprint.parallel
    if (after, layer) in rebuild_streams(context) and not between:
        return _read_step(context, which, layer, position)
    return context.data.site(out, layer)[position].float()


def _read_step(context: ViewContext, which: Lane, layer: int, position: int) -> Float[Tensor, " d"]:
    """How the stream moved where a lane joined it; of a parallel block, attention's is what it wrote."""

    def read(site: Site) -> Tensor:
        return context.data.site(site, layer)[position].float()

    if context.model.blueprint.parallel:
        written = read(Site.ATTN_OUT)
        return written if which is Lane.ATTENTION else read(Site.RESID_POST) - read(Site.RESID_PRE) - written
    if which is Lane.ATTENTION:
        return read(Site.RESID_MID) - read(Site.RESID_PRE)
    return read(Site.RESID_POST) - read(Site.RESID_MID)


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
