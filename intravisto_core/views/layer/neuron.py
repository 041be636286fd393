"""One neuron over the text: when it is active, what fires it, what it writes (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.experts import run_expert
from intravisto_core.analysis.layer_readings import Angles, project
from intravisto_core.analysis.parts import split_attention
from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.models.mlp_reader import NeuronReader, fire, read_neurons
from intravisto_core.progress import Progress
from intravisto_core.records import NeuronCard, TokenList
from intravisto_core.request import NeuronView
from intravisto_core.request.ranges import index
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.asked import Asked, read_angles, read_layer
from intravisto_core.views.layer.cards import list_tokens, read_written
from intravisto_core.views.layer.layer import allowed_error
from intravisto_core.views.layer.layer_neurons import LayerNeurons
from intravisto_core.views.layer.states import read_site

Array = np.ndarray


def compute_neuron(context: ViewContext, view: NeuronView) -> Generator[Progress, None, NeuronCard]:
    """One neuron.

    Raises:
        RequestError: no such layer, expert, neuron, position or token; or the expert was not chosen at the position.
        ModelError: the model fails an identity that neurons rest on.
    """
    layer, model = read_layer(context, view.layer), context.model
    asked = Asked.of(context, view)
    expert = read_expert(model, layer, view.neuron, view.expert)
    positions, act = read_activation(model, context.data, layer, expert, view.neuron)
    if asked.position not in positions:
        where = ", ".join(map(str, positions[:12])) or "none of this text"
        raise RequestError(expected("position", f"one that expert {expert} was chosen for ({where})", asked.position))
    neurons = LayerNeurons.of(context, layer, asked.position, asked.gauge)
    number = _find_number(neurons, expert, view.neuron)
    vector = neurons.vector(number)
    yield Progress(1, 3, "reading the neuron")
    written = read_written(context, layer, asked, Site.MLP_OUT, vector, view.n, view.order)
    yield Progress(2, 3, "reading what fires it")
    fired = read_fired(context, layer, expert, view.neuron, asked.position, positions, act)
    angles = read_angles(context, view.order)
    first, second = (_list_rows(context, fired, which, view.n, angles) for which in ("first", "up"))
    gated = fired.reader is not None and fired.reader.gate is not None
    block = neurons.block_of(number)
    spread = np.full(context.entry.length, nan, np.float32)
    spread[positions] = act.cpu().numpy()
    yield Progress(3, 3)
    return NeuronCard(
        trace=context.entry.id,
        model=model.name,
        tokens=context.entry.tokens,
        d_vocab=model.dimensions.d_vocab,
        layer=layer,
        neuron=view.neuron,
        expert=expert,
        position=asked.position,
        target_id=asked.target,
        target=model.reader.shown(asked.target),
        contrast=model.reader.shown(asked.contrast),
        order=view.order,
        activation=spread,
        gate=_spread(fired.gate, positions, context.entry.length),
        up=_spread(fired.up, positions, context.entry.length),
        weight=block.weight if expert >= 0 else nan,
        size=float(neurons.sizes[number]),
        place=int((neurons.sizes > neurons.sizes[number]).sum()) + 1,
        n_neurons=len(neurons.sizes),
        pull=float(neurons.pulls[number, 0]),
        versus=float(neurons.pulls[number, 1]),
        rank=written.rank,
        kl=written.kl,
        entropy_change=written.entropy,
        fired_kind=np.array([p.kind for p in fired.parts], dtype="<U9"),
        fired_layer=np.array([p.layer for p in fired.parts], np.int32),
        fired_index=np.array([p.index for p in fired.parts], np.int32),
        fired_gate=np.array([p.gate for p in fired.parts], np.float64),
        fired_up=np.array([p.up for p in fired.parts], np.float64),
        promoted=written.promoted,
        suppressed=written.suppressed,
        gate_reads=first[0],
        gate_against=first[1],
        up_reads=second[0] if gated else _none(context),
        up_against=second[1] if gated else _none(context),
        notes=(*asked.notes, *fired.notes),
    )


def read_expert(model: LoadedModel, layer: int, neuron: int, expert: int | None) -> int:
    """The expert that a neuron is in; −1 in a layer without experts.

    Raises:
        RequestError: no such neuron or expert, or none is named where there are some.
    """
    part = model.blueprint.blocks[layer].experts
    if part is None:
        if expert is not None:
            raise RequestError(f"expert: layer {layer} of {model.name} has none. Leave the expert out")
        index(neuron, model.dimensions.d_mlp, "neuron")
        return -1
    n_experts = part.n_routed + (part.shared_w_out is not None)
    if expert is None:
        raise RequestError(expected("expert", f"0 to {n_experts - 1}: this layer's MLP is a mixture of experts", None))
    number = index(expert, n_experts, "expert")
    index(neuron, model.weights.get(f"expert_out.{layer}.{number}").shape[1], "neuron")
    return number


def read_activation(
    model: LoadedModel, data: TraceData, layer: int, expert: int, neuron: int
) -> tuple[list[int], Float[Tensor, " n"]]:
    """The positions where a neuron was computed, and its activation there as the run had it."""
    if expert < 0:
        act = data.site(Site.ACT, layer)[:, neuron].float()
        return list(range(len(act))), act
    run = data.expert(layer, expert, run_expert(model, layer, expert, data.routed(layer)))
    order = run.positions.argsort()
    return run.positions[order].tolist(), run.act[order, neuron]


def _find_number(neurons: LayerNeurons, expert: int, neuron: int) -> int:
    before = 0
    for block in neurons.blocks:
        if block.expert == expert:
            return before + neuron
        before += len(block.act)
    raise IndexError(expert)


@dataclass(frozen=True, slots=True)
class FiredPart:
    """What one part of the stream gives to both inputs of a neuron."""

    kind: str
    layer: int
    index: int
    gate: float
    up: float


@dataclass(frozen=True, slots=True)
class Fired:
    """Inputs of a neuron over some positions, and by part at one of them; None and empty where they are not known."""

    reader: NeuronReader | None
    gate: Float[Tensor, " n"] | None
    up: Float[Tensor, " n"] | None
    parts: tuple[FiredPart, ...] = ()
    notes: tuple[str, ...] = ()


def read_fired(
    context: ViewContext,
    layer: int,
    expert: int,
    neuron: int,
    position: int,
    positions: list[int],
    act: Float[Tensor, " n"],
) -> Fired:
    """What fires a neuron: exact sums over parts of the stream, at the norm's frozen scale."""
    model, device = context.model, context.data.final.device
    try:
        reader = read_neurons(model, layer, torch.tensor([neuron], device=device), expert)
    except ModelError as error:
        return Fired(None, None, None, notes=(f"What fires it is not shown: {error}",))
    x = context.data.site(read_site(context.model), layer).float()
    gate, up = reader.inputs(x[positions])
    made = fire(model, layer, gate, up, expert)[:, 0]
    off = (made - act).abs() / act.abs().max().clamp(min=1e-6)
    notes: tuple[str, ...] = ()
    if float(off.max()) > allowed_error(context):
        if not context.entry.request.interventions:
            why = "its input rows make another activation of the stream than the run had"
            return Fired(None, None, None, notes=(f"What fires it is not shown: {why}",))
        notes = ("An edit changed this neuron: gate and up are what they would have been without it",)
    parts = tuple(_split_input(context, layer, position, reader))
    return Fired(reader, None if gate is None else gate[:, 0], up[:, 0], parts, notes)


def _split_input(context: ViewContext, layer: int, position: int, reader: NeuronReader) -> list[FiredPart]:
    data = context.data
    stream = data.site(read_site(context.model), layer)[position].float()
    named = stack_stream_parts(context, layer, position)
    vectors = torch.stack([v for *_, v in named] + [stream])
    vectors[-1] -= vectors[:-1].sum(0)
    named.append(("rest", -1, -1, stream))
    sigma = 1.0 if reader.norm is None else float(reader.norm.sigma(stream))
    rows = [
        None if r is None else (vectors.double() @ reader.fold(r)[0].double() / sigma).tolist() for r in _pair(reader)
    ]
    gate, up = rows
    found = [
        FiredPart(kind, of, head, nan if gate is None else gate[i], nan if up is None else up[i])
        for i, (kind, of, head, _) in enumerate(named)
    ]
    constants = [
        ("norm", [None if r is None else reader.shift(r) for r in _pair(reader)]),
        ("bias", [reader.gate_bias, reader.up_bias]),
    ]
    for kind, (of_gate, of_up) in constants:
        if of_gate is not None or of_up is not None:
            none = nan if reader.gate is None else 0.0
            found.append(
                FiredPart(
                    kind, -1, -1, none if of_gate is None else float(of_gate), 0.0 if of_up is None else float(of_up)
                )
            )
    return found


def _pair(reader: NeuronReader) -> tuple[Tensor | None, Tensor]:
    return reader.gate, reader.up


def stack_stream_parts(context: ViewContext, layer: int, position: int) -> list[tuple[str, int, int, Tensor]]:
    """What added up to the stream that the MLP of a layer reads: (kind, layer, head, vector), float32."""
    data = context.data
    found = [("embedding", -1, -1, data.site(Site.RESID_PRE, 0)[position].float())]
    for before in range(layer):
        found.append(("attention", before, -1, data.site(Site.ATTN_OUT, before)[position].float()))
        found.append(("mlp", before, -1, data.site(Site.MLP_OUT, before)[position].float()))
    if not context.model.blueprint.parallel:
        z = data.site(Site.Z, layer)[:, position : position + 1]
        heads, bias = split_attention(context.model, layer, z)
        found += [("head", layer, h, heads[h, 0]) for h in range(len(heads))]
        if bool(bias.any()):
            found.append(("head", layer, -1, bias[0]))
    return found


def _list_rows(context: ViewContext, fired: Fired, which: str, n: int, angles: Angles) -> tuple[TokenList, TokenList]:
    """Tokens along an input row, and against it."""
    if fired.reader is None:
        return _none(context), _none(context)
    row = fired.reader.first if which == "first" else fired.reader.up
    z = project(context.model, fired.reader.fold(row))
    scores = angles.scores(z)[0]
    ends = (scores.topk(min(n, len(scores))).indices, scores.topk(min(n, len(scores)), largest=False).indices)
    along, against = (list_tokens(context.model, ids, z[0][ids]) for ids in ends)
    return along, against


def _none(context: ViewContext) -> TokenList:
    empty: Int[Tensor, " n"] = torch.zeros(0, dtype=torch.long)
    return list_tokens(context.model, empty, torch.zeros(0))


def _spread(values: Tensor | None, positions: list[int], length: int) -> Array | None:
    if values is None:
        return None
    out = np.full(length, nan, np.float32)
    out[positions] = values.cpu().numpy()
    return out
