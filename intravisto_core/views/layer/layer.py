"""The record of one layer at one position (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.decoding import find_top_tokens
from intravisto_core.analysis.layer_readings import Angles, Stream, fold, multiply, read_states
from intravisto_core.analysis.lenses import FLOOR
from intravisto_core.errors import ModelError
from intravisto_core.models.mlp_reader import fire, read_neurons
from intravisto_core.progress import Progress
from intravisto_core.records import LayerGraph
from intravisto_core.request import LayerView
from intravisto_core.request.layer import ALL_HEADS, MOST_HEADS
from intravisto_core.sites import BlockKind, Lane, LayerPart, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.asked import Asked, read_angles, read_layer
from intravisto_core.views.layer.features import compute_features
from intravisto_core.views.layer.lanes import split_attention_lane, split_mlp_lane
from intravisto_core.views.layer.pieces import LaneParts, Piece
from intravisto_core.views.layer.sources import divide_sources
from intravisto_core.views.layer.states import read_base, read_site, stack_states

TOP, LOW, FIRED = 6, 4, 4
# of the largest activation; more is another function than the model's
ALLOWED = {torch.float32: 1e-3}
ALLOWED_ROUNDED = 5e-2

Array = np.ndarray


def compute_layer(context: ViewContext, view: LayerView) -> Generator[Progress, None, LayerGraph]:
    """What a layer wrote at a position, and who wrote it.

    Raises:
        RequestError: no such layer, position or token.
        ModelError: the model fails an identity that heads or neurons rest on, or what is found does not add up.
    """
    layer, model = read_layer(context, view.layer), context.model
    asked = Asked.of(context, view, view.width)
    n_heads = model.dimensions.n_heads
    most = view.heads if view.heads is not None else (n_heads if n_heads <= ALL_HEADS else MOST_HEADS)
    attention = split_attention_lane(context, layer, asked.position, asked.gauge, most)
    yield Progress(1, 4, "heads")
    mlp = split_mlp_lane(context, layer, asked.position, asked.gauge, view.neurons)
    yield Progress(2, 4, "neurons")
    pieces = [*attention.pieces, *mlp.pieces]
    heads = [p.index for p in pieces if p.kind is LayerPart.HEAD]
    sources = divide_sources(context, layer, asked, heads)
    yield Progress(3, 4, "sources")
    names, streams = stack_states(context, layer, asked.position)
    vectors = torch.stack([p.vector for p in pieces] + [attention.total, mlp.total])
    into_mlp = [p.lane is Lane.MLP for p in pieces] + [False, True]
    numbers, directions, notes = find_fired(context, layer, asked.position, pieces)
    rows = (model.final_state(streams), fold(model, streams[1:]), fold(model, vectors), fold(model, directions))
    of_states, of_streams, of_parts, of_directions = multiply(model, torch.cat(rows)).split([len(x) for x in rows])
    states = read_states(_finish_states(context, of_states), asked.target, TOP)
    angles = read_angles(context, view.order)
    words = read_parts(context, angles, asked, (vectors, of_parts), into_mlp, (streams, of_streams))
    fired = np.full((len(pieces), FIRED), -1, np.int32)
    if numbers:
        fired[numbers] = find_top_tokens(angles.scores(of_directions), FIRED)[1].int().cpu().numpy()
    pulls = asked.gauge.pulls(vectors).cpu().numpy()
    state_pulls = asked.gauge.pulls(streams).cpu().numpy()
    rounding = asked.gauge.pulls(torch.stack([attention.rounding, mlp.rounding])).cpu().numpy()
    n = len(pieces)
    features = compute_features(context, layer, asked, angles, view.features)
    shown = {*states.ids.flatten().tolist(), *words.ids.flatten().tolist(), *words.low.flatten().tolist()}
    shown |= {asked.target, asked.contrast, *fired.flatten().tolist()} - {-1}
    for each in features:
        shown |= {*each.part_ids.flatten().tolist(), *each.part_low_ids.flatten().tolist()}
    own, whole = slice(0, n), slice(n, n + 2)
    sizes = vectors.norm(dim=-1).cpu().numpy()
    return LayerGraph(
        trace=context.entry.id,
        model=model.name,
        n_layers=model.dimensions.n_layers,
        d_vocab=model.dimensions.d_vocab,
        prompt_length=context.entry.prompt_length,
        tokens=context.entry.tokens,
        layer=layer,
        position=asked.position,
        block=BlockKind.PARALLEL if model.blueprint.parallel else BlockKind.SERIAL,
        target_id=asked.target,
        contrast_id=asked.contrast,
        target=model.reader.shown(asked.target),
        contrast=model.reader.shown(asked.contrast),
        width=view.width,
        order=view.order,
        state_name=np.array([str(name) for name in names]),
        state_size=streams.norm(dim=-1).cpu().numpy(),
        state_entropy=states.entropy.float().cpu().numpy(),
        state_rank=states.rank.int().cpu().numpy(),
        state_probability=states.probability.float().cpu().numpy(),
        state_pull=state_pulls[:, 0],
        state_versus=state_pulls[:, 1],
        state_ids=states.ids.int().cpu().numpy(),
        state_top=states.top.float().cpu().numpy(),
        part_kind=np.array([str(p.kind) for p in pieces]),
        part_lane=np.array([str(p.lane) for p in pieces]),
        part_index=np.array([p.index for p in pieces], np.int32),
        part_expert=np.array([p.expert for p in pieces], np.int32),
        part_count=np.array([p.count for p in pieces], np.int32),
        part_size=sizes[own],
        part_pull=pulls[own, 0],
        part_versus=pulls[own, 1],
        part_rank=words.rank[own],
        part_act=np.array([p.act for p in pieces], np.float32),
        part_weight=np.array([p.weight for p in pieces], np.float32),
        part_kl=words.kl[own],
        part_entropy=words.entropy[own],
        part_ids=words.ids[own],
        part_changes=words.changes[own],
        part_low_ids=words.low[own],
        part_fired_ids=fired,
        lane_size=sizes[whole],
        lane_pull=pulls[whole, 0],
        lane_versus=pulls[whole, 1],
        lane_rank=words.rank[whole],
        lane_kl=words.kl[whole],
        lane_entropy=words.entropy[whole],
        lane_ids=words.ids[whole],
        lane_sizes=np.array([float(x.sizes.sum()) for x in (attention, mlp)], np.float32),
        lane_count=np.array([len(x.sizes) for x in (attention, mlp)], np.int32),
        lane_half=np.array([count_half(x) for x in (attention, mlp)], np.int32),
        rounding=rounding,
        source_position=sources.positions,
        source_weight=sources.weight,
        source_size=sources.size,
        source_pull=sources.pull,
        source_versus=sources.versus,
        n_sources=view.sources,
        dictionaries=features,
        shown={i: model.reader.shown(i) for i in sorted(shown)},
        notes=(*asked.notes, *notes),
    )


def count_half(lane: LaneParts) -> int:
    """How many of the largest parts have half of Σ sizes."""
    ordered = lane.sizes.sort(descending=True).values.double().cumsum(0)
    return int((ordered < ordered[-1] / 2).sum()) + 1


@dataclass(frozen=True, slots=True)
class Words:
    """What n parts say: ids (n, k) and changes of logit, low (n, k2), rank of the target; kl and entropy (n,)."""

    ids: Array
    changes: Array
    low: Array
    rank: Array
    kl: Array
    entropy: Array


def _finish_states(context: ViewContext, z: Float[Tensor, "S V"]) -> Float[Tensor, "S V"]:
    """Logits of states: with the unembedding's bias, logit scale and soft-cap."""
    bias = context.model.weights.bias("unembed")
    return context.model.cap(z if bias is None else z + bias.clamp(min=FLOOR))


def read_parts(
    context: ViewContext,
    angles: Angles,
    asked: Asked,
    parts: tuple[Float[Tensor, "n d"], Float[Tensor, "n V"]],
    into_mlp: Sequence[bool],
    streams: tuple[Float[Tensor, "S d"], Float[Tensor, "rest V"]],
) -> Words:
    """What parts write and what the stream says without each.

    parts: their vectors, and products with the unembedding. into_mlp: whether a part joins the last state. streams: all
    states, and the products of those after the first.
    """
    model, (vectors, z), (states, of_streams) = context.model, parts, streams
    joined = torch.tensor(into_mlp) if len(states) == 3 else torch.ones(len(vectors), dtype=torch.bool)
    scale = model.blueprint.logit_scale / model.norm.sigma(states[-1])
    losses = torch.zeros((2, len(z)), dtype=torch.float64)
    for number, (x, own) in enumerate(zip(states[1:], of_streams, strict=True)):
        mine = (joined == (number == len(states) - 2)).nonzero()[:, 0].to(z.device)
        if len(mine):
            found = Stream(model, x, own, read_base(context)).losses(vectors[mine], z[mine])
            losses[:, mine.cpu()] = torch.stack([each.cpu() for each in found])
    rank = 1 + (z > z[:, asked.target, None]).sum(-1)
    scores = angles.scores(z)
    high = find_top_tokens(scores, TOP)[1]
    low = find_top_tokens(-scores, LOW)[1]
    return Words(
        high.int().cpu().numpy(),
        (z.gather(1, high) * scale).cpu().numpy(),
        low.int().cpu().numpy(),
        rank.int().cpu().numpy(),
        losses[0].float().numpy(),
        losses[1].float().numpy(),
    )


def find_fired(
    context: ViewContext, layer: int, position: int, pieces: Sequence[Piece]
) -> tuple[list[int], Float[Tensor, "n d"], tuple[str, ...]]:
    """Which parts are neurons whose input rows are known, what the gates read of the stream, and why others are not."""
    model = context.model
    x = context.data.site(read_site(model), layer)[position : position + 1].float()
    numbers: list[int] = []
    directions = [x[:0]]
    try:
        for expert in dict.fromkeys(p.expert for p in pieces if p.kind is LayerPart.NEURON):
            own = [i for i, p in enumerate(pieces) if p.kind is LayerPart.NEURON and p.expert == expert]
            neurons = torch.tensor([pieces[i].index for i in own], device=x.device)
            reader = read_neurons(model, layer, neurons, expert)
            check_fired(context, layer, [pieces[i] for i in own], reader.inputs(x))
            numbers += own
            directions.append(reader.fold(reader.first))
    except ModelError as error:
        return [], x[:0], (f"What fires the neurons is not shown: {error}",)
    return numbers, torch.cat(directions), ()


def check_fired(
    context: ViewContext, layer: int, pieces: Sequence[Piece], inputs: tuple[Tensor | None, Tensor]
) -> None:
    """Hold what the rows make of the stream against the neurons that the run had, all of one expert.

    Raises:
        ModelError: they make others.
    """
    if any(e.site in (Site.ACT, None) for e in context.entry.request.interventions) or context.entry.only_once:
        return
    made = fire(context.model, layer, inputs[0], inputs[1], pieces[0].expert)[0].cpu()
    had = torch.tensor([p.act for p in pieces])
    largest = torch.maximum(had.abs(), made.abs()).clamp(min=1e-2)
    off = (made - had).abs() / largest
    if float(off.max()) > allowed_error(context):
        worst = int(off.argmax())
        raise ModelError(
            f"layer {layer}, neuron {pieces[worst].index}: its input rows make {float(made[worst]):.4g} of the stream, "
            f"and it was {float(had[worst]):.4g}; this model's MLP works in another way than is known"
        )


def allowed_error(context: ViewContext) -> float:
    """How far an activation that is made again may be off, of its size."""
    model = context.model
    return ALLOWED_ROUNDED if model.quantisation is not None else ALLOWED.get(model.dtype, ALLOWED_ROUNDED)
