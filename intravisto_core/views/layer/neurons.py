"""The largest neurons of a layer or of all layers, and those that promote a token (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.attribution import MEAN, Direction, compute_reader
from intravisto_core.analysis.experts import run_expert
from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.errors import ModelError
from intravisto_core.models import NormFormula
from intravisto_core.progress import Progress
from intravisto_core.records import Neurons
from intravisto_core.request import NeuronsView
from intravisto_core.sites import NeuronRanking, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.asked import Asked, read_layer
from intravisto_core.views.layer.layer_neurons import LayerNeurons, NeuronRows, through
from intravisto_core.views.typed_tokens import read_token


@dataclass(frozen=True, slots=True)
class _Table:
    """Numbers of some neurons, (n,) each but for the first three, which are alike for all or numbered."""

    layer: int
    expert: int
    neuron: Tensor
    act: Tensor
    size: Tensor
    pulls: Float[Tensor, "n 2"]
    attribution: Tensor
    cosine: Tensor

    def measure(self, rank_by: NeuronRanking, sought: bool) -> Tensor:
        if sought:
            return self.cosine.abs()
        own = {NeuronRanking.SIZE: self.size, NeuronRanking.PULL: self.pulls[:, 0]}
        return own.get(rank_by, self.attribution).abs()


def compute_neurons(context: ViewContext, view: NeuronsView) -> Generator[Progress, None, Neurons]:
    """The neurons whose measure is largest; a turn is a layer.

    Raises:
        RequestError: no such layer, position or token.
        ModelError: the model fails an identity that neurons rest on.
    """
    model, asked = context.model, Asked.of(context, view)
    notes: tuple[str, ...] = ()
    n_layers = model.dimensions.n_layers
    layers = range(n_layers) if view.layer is None else [read_layer(context, view.layer)]
    sought: Direction | None = None
    if view.promotes is not None:
        token = read_token(model, view.promotes, "promotes")
        sought, notes = Direction.of(model, token.id, MEAN), ((token.note,) if token.note else ())
    tables: list[_Table] = []
    for done, layer in enumerate(layers):
        for table in _read_tables(context, layer, asked, view.rank_by is NeuronRanking.ATTRIBUTION, sought):
            best = table.measure(view.rank_by, sought is not None)
            kept = best.topk(min(view.k, len(best))).indices
            tables.append(_pick(table, kept))
        yield Progress(done + 1, len(layers), "neurons")
    best = torch.cat([t.measure(view.rank_by, sought is not None) for t in tables])
    order = best.topk(min(view.k, len(best))).indices
    where = torch.cat([torch.tensor([t.layer, t.expert]).expand(len(t.neuron), 2) for t in tables])[order.cpu()]

    def column(name: str) -> np.ndarray:
        found: np.ndarray = torch.cat([getattr(t, name) for t in tables])[order].cpu().numpy()
        return found

    pulls = column("pulls")
    return Neurons(
        trace=context.entry.id,
        model=model.name,
        tokens=context.entry.tokens,
        position=asked.position,
        target=model.reader.shown(asked.target),
        contrast=model.reader.shown(asked.contrast),
        rank_by=view.rank_by,
        promotes="" if sought is None else model.reader.shown(sought.target),
        layer=where[:, 0].int().numpy(),
        expert=where[:, 1].int().numpy(),
        neuron=column("neuron").astype(np.int32),
        activation=column("act"),
        size=column("size"),
        pull=pulls[:, 0],
        versus=pulls[:, 1],
        attribution=column("attribution"),
        cosine=column("cosine"),
        notes=(*asked.notes, *notes),
    )


def _pick(table: _Table, kept: Tensor) -> _Table:
    columns = (table.neuron, table.act, table.size, table.pulls, table.attribution, table.cosine)
    return _Table(table.layer, table.expert, *(x[kept] for x in columns))


def _read_tables(
    context: ViewContext, layer: int, asked: Asked, attribution: bool, sought: Direction | None
) -> Iterator[_Table]:
    """The neurons of a layer that wrote at the position, by expert."""
    neurons = LayerNeurons.of(context, layer, asked.position, asked.gauge)
    readers = _stack_readers(context, layer, neurons) if attribution else None
    start = 0
    for block in neurons.blocks:
        rows = slice(start, start + len(block.act))
        start = rows.stop
        nothing = torch.full_like(block.act, nan)
        yield _Table(
            layer,
            block.expert,
            torch.arange(len(block.act), device=block.act.device),
            block.act,
            neurons.sizes[rows],
            neurons.pulls[rows],
            nothing if readers is None else _attribute(context, layer, block, readers),
            nothing if sought is None else _measure_cosine(context, neurons.norm, block, sought),
        )


def _stack_readers(context: ViewContext, layer: int, neurons: LayerNeurons) -> Float[Tensor, "T d"]:
    """What each position reads of an MLP's projection for the token that comes next; 0 at the last position."""
    model, data, ids = context.model, context.data, [t.id for t in context.entry.tokens]
    out = torch.zeros((len(ids), model.dimensions.d_model), dtype=torch.float32, device=data.final.device)
    for position, token in enumerate(ids[1:]):
        out[position] = compute_reader(model, Direction.of(model, token, MEAN), data.final[position])
    norm = apply_post_norm(model, layer, "w_out")
    if norm is None:
        return out * model.blueprint.multiplier
    return neurons.multiplier * norm.centre(norm.scale * out) / _read_sigma(context, layer, neurons, norm)


def _read_sigma(context: ViewContext, layer: int, neurons: LayerNeurons, norm: NormFormula) -> Float[Tensor, "T 1"]:
    """The frozen scale of a post-norm at every position.

    Raises:
        ModelError: the norm comes after a mixture of experts.
    """
    block = neurons.blocks[0]
    if block.expert >= 0:
        raise ModelError("attribution over the text: expected no norm after a mixture of experts. Rank by size or pull")
    whole = context.data.site(Site.ACT, layer).float() @ block.w_out.T
    return norm.sigma(whole if block.bias is None else whole + block.bias)


def _attribute(
    context: ViewContext, layer: int, block: NeuronRows, readers: Float[Tensor, "T d"]
) -> Float[Tensor, " n"]:
    """Mean over the positions that have a next token of what each neuron adds to it."""
    n = max(1, len(readers) - 1)
    if block.expert < 0:
        act = context.data.site(Site.ACT, layer).float()
        return (act[:-1] * (readers[:-1] @ block.w_out)).sum(0) / n
    run = context.data.expert(
        layer, block.expert, run_expert(context.model, layer, block.expert, context.data.routed(layer))
    )
    return (run.weights[:, None] * run.act * (readers[run.positions] @ block.w_out)).sum(0) / n


def _measure_cosine(
    context: ViewContext, norm: NormFormula | None, block: NeuronRows, sought: Direction
) -> Float[Tensor, " n"]:
    """⟨w, ê_t⟩/‖w‖ of each column as it joins the stream."""
    model = context.model
    along = model.norm.centre(model.norm.scale * sought.d)
    length = along.norm()
    if norm is not None:
        along = norm.centre(norm.scale * along)
    lengths = model.weights.lengths(block.name, through(norm)).clamp(min=1e-12)
    return (along @ block.w_out) / length / lengths
