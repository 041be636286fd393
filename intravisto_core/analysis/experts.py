"""What a mixture of experts writes, neuron by neuron (docs/methods.md §1: act; §2, identity 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

from intravisto_core.analysis.parts import scale_to_stream
from intravisto_core.models import LoadedModel


@dataclass(slots=True)
class Routing:
    """What went into the experts of one layer, in the model's dtype; None where the layer has no such part.

    given: what the chosen experts read. logits: of the router. chosen, weights: the experts of each position, and what
    the output of each is multiplied by. shared_act: input of the shared expert's down-projection. shared_logit: its
    weight is the sigmoid of this, or 1.
    """

    given: Float[Tensor, "T d"] | None = None
    logits: Float[Tensor, "T E"] | None = None
    chosen: Int[Tensor, "T k"] | None = None
    weights: Float[Tensor, "T k"] | None = None
    shared_act: Float[Tensor, "T d_shared"] | None = None
    shared_logit: Float[Tensor, "T 1"] | None = None

    def at(self, position: int) -> Routing:
        """The same at one position alone."""
        return Routing(**{name: x[position : position + 1] for name, x in self.tensors()})

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The parts that there are, by name."""
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None:
                yield field.name, value


@dataclass(frozen=True, slots=True)
class ExpertRun:
    """One expert of one layer: the positions that it had, its weight there and its neurons, float32."""

    positions: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]
    act: Float[Tensor, "n d_expert"]


def read_mixture(model: LoadedModel, layer: int, routing: Routing) -> tuple[Int[Tensor, "T k"], Float[Tensor, "T k"]]:
    """The experts of each position with their weights, float32; the shared one, numbered last, is among them."""
    ids, weights = [], []
    if routing.chosen is not None and routing.weights is not None:
        ids.append(routing.chosen)
        weights.append(routing.weights.float())
    if routing.shared_act is not None:
        ids.append(torch.full_like(routing.shared_act[:, :1], _n_routed(model, layer), dtype=torch.long))
        weights.append(_shared_weight(routing)[:, None])
    return torch.cat(ids, 1), torch.cat(weights, 1)


def _n_routed(model: LoadedModel, layer: int) -> int:
    experts = model.blueprint.blocks[layer].experts
    return 0 if experts is None else experts.n_routed


def _shared_weight(routing: Routing) -> Float[Tensor, " T"]:
    assert routing.shared_act is not None
    if routing.shared_logit is None:
        return torch.ones(routing.shared_act.shape[0], dtype=torch.float32, device=routing.shared_act.device)
    return routing.shared_logit[:, 0].sigmoid().float()


def run_expert(model: LoadedModel, layer: int, expert: int, routing: Routing) -> ExpertRun:
    """`act[l, e]`: the neurons of one expert, computed again from what it read, as patterns are from q and k."""
    if expert == _n_routed(model, layer):
        assert routing.shared_act is not None
        weights = _shared_weight(routing)
        return ExpertRun(torch.arange(len(weights), device=weights.device), weights, routing.shared_act.float())
    assert routing.given is not None
    assert routing.chosen is not None
    assert routing.weights is not None
    positions, slots = (routing.chosen == expert).nonzero(as_tuple=True)
    name = f"expert_in.{layer}.{expert}"
    bias = model.weights.bias(name)
    given = routing.given[positions]
    act = linear(given, model.weights.get(name), None if bias is None else bias.to(given.dtype))
    return ExpertRun(positions, routing.weights[positions, slots].float(), model.gated(layer, act).float())


def sum_experts(model: LoadedModel, layer: int, routing: Routing) -> Float[Tensor, "T d"]:
    """All neurons of all experts and the biases together, with the routers' weights: `mlp_out`, rebuilt."""
    ids, _ = read_mixture(model, layer, routing)
    total = torch.zeros((len(ids), model.dimensions.d_model), dtype=torch.float32, device=ids.device)
    for expert in ids.unique().tolist():
        part = run_expert(model, layer, expert, routing)
        name = f"expert_out.{layer}.{expert}"
        written, bias = part.act @ model.weights.get(name).float().T, model.weights.bias(name)
        total[part.positions] += part.weights[:, None] * (written if bias is None else written + bias)
    return scale_to_stream(model, layer, total, "w_out")
