"""Edits of single neurons of experts: what the change writes is added to what the MLP writes (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.experts import ExpertRun, Routing, run_expert
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.tracing.site_edits import Change
from intravisto_core.tracing.trace_data import TraceData


@dataclass(frozen=True, slots=True)
class ExpertNeuron:
    """Neuron n of expert e of a layer, in the positions that the router gives to that expert."""

    model: LoadedModel
    layer: int
    expert: int
    neuron: int

    @classmethod
    def of(cls, model: LoadedModel, layer: int, neuron: object) -> ExpertNeuron:
        """The neuron that a request names.

        Raises:
            RequestError: it is not (expert, neuron), or out of range; or a norm follows, so that neurons do not add up.
        """
        block = model.blueprint.blocks[layer]
        if block.experts is None or block.mlp_post_norm is not None:
            raise RequestError("act: the experts of this model have no neurons that could be edited one by one")
        n_experts = block.experts.n_routed + (block.experts.shared_w_out is not None)
        if not isinstance(neuron, tuple) or not 0 <= neuron[0] < n_experts:
            raise RequestError(expected("neuron", f"(expert, neuron), the expert from 0 to {n_experts - 1}", neuron))
        width = model.weights.get(f"expert_out.{layer}.{neuron[0]}").shape[1]
        if neuron[1] >= width:
            raise RequestError(expected("neuron", f"one of 0 to {width - 1} in expert {neuron[0]}", neuron[1]))
        return cls(model, layer, *neuron)

    def run(self, routing: Routing) -> ExpertRun:
        """The expert over the rows of a routing."""
        return run_expert(self.model, self.layer, self.expert, routing)

    def values(self, data: TraceData) -> Float[Tensor, "T 1"]:
        """Its activation at every position of a trace, 0 where the expert was not chosen."""
        part = self.run(data.routed(self.layer))
        out = part.act.new_zeros((data.length, 1))
        out[part.positions, 0] = part.act[:, self.neuron]
        return out

    def chosen(self, data: TraceData) -> Float[Tensor, "n 1"]:
        """Its activations at the positions of a trace that the expert had."""
        return self.run(data.routed(self.layer)).act[:, self.neuron, None]


@dataclass(frozen=True, slots=True)
class ExpertEdit:
    """A change of one expert's neuron. change: old values (n, 1) at n positions → new ones. places: sorted."""

    unit: ExpertNeuron
    layer: int
    places: tuple[int, ...]
    change: Change

    def applied(self, values: Float[Tensor, "n 1"], positions: Sequence[int]) -> Float[Tensor, "n 1"]:
        """The neuron's values at some absolute positions after the change; those that it is not about stay."""
        wanted = [i for i, p in enumerate(positions) if p in set(self.places)]
        if not wanted:
            return values
        out = values.clone()
        out[wanted] = self.change(values[wanted], [positions[i] for i in wanted]).float().expand(len(wanted), 1)
        return out


def edit_act(edits: Sequence[ExpertEdit], part: ExpertRun, start: int = 0) -> dict[int, Float[Tensor, "n 1"]]:
    """By neuron, its values over an expert's positions after all edits of that expert, each on top of the one before.

    part: as the model had it; its positions count from `start`.
    """
    positions = [p + start for p in part.positions.tolist()]
    found: dict[int, Tensor] = {}
    for edit in edits:
        neuron = edit.unit.neuron
        found[neuron] = edit.applied(found.get(neuron, part.act[:, neuron, None]), positions)
    return found


def add_expert_edits(
    edits: Sequence[ExpertEdit], layer: int, expert: int, part: ExpertRun, start: int = 0
) -> ExpertRun:
    """An expert of a layer with its neurons as the edits made them."""
    own = [e for e in edits if e.layer == layer and e.unit.expert == expert]
    if not own:
        return part
    act = part.act.clone()
    for neuron, values in edit_act(own, part, start).items():
        act[:, neuron] = values[:, 0]
    return replace(part, act=act)


def apply_experts(
    edits: Sequence[ExpertEdit], routing: Routing, x: Float[Tensor, "n d"], start: int
) -> Float[Tensor, "n d"]:
    """What the MLP of a layer writes after all edits of its experts; rows that no edit changes keep their bits."""
    out = x
    by_expert: dict[int, list[ExpertEdit]] = {}
    for edit in edits:
        by_expert.setdefault(edit.unit.expert, []).append(edit)
    for expert, own in by_expert.items():
        unit = own[0].unit
        part = unit.run(routing)
        table = unit.model.weights.get(f"expert_out.{unit.layer}.{expert}")
        for neuron, new in edit_act(own, part, start).items():
            moved = new - part.act[:, neuron, None]
            rows = (moved[:, 0] != 0).nonzero()[:, 0]
            if not len(rows):
                continue
            added = part.weights[rows, None] * moved[rows] * table[:, neuron].float()
            out = x.clone() if out is x else out
            at = part.positions[rows]
            out[at] = (out[at].float() + added.to(out.device)).to(out.dtype)
    return out


def select_rows(routing: Routing, start: int, stop: int) -> Routing:
    """The routing of some positions."""
    parts = {f.name: getattr(routing, f.name) for f in fields(Routing)}
    return Routing(**{name: None if x is None else x[start:stop] for name, x in parts.items()})


def moves_something(edits: Sequence[ExpertEdit], base: TraceData) -> bool:
    """Whether edits change the baseline's own values."""
    parts = ((e, e.unit.run(base.routed(e.layer))) for e in edits)
    return any(
        bool((e.applied(old := part.act[:, e.unit.neuron, None], part.positions.tolist()) != old).any())
        for e, part in parts
    )
