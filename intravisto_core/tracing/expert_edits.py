"""Edits of single neurons of experts: what the change writes is added to what the MLP writes (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.experts import ExpertRun, Routing, expert_run
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.tracing.capture import TraceData
from intravisto_core.tracing.edits import Change


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
        return expert_run(self.model, self.layer, self.expert, routing)

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

    def written(self, routing: Routing, start: int) -> tuple[Tensor, Float[Tensor, "n d"]] | None:
        """Rows of a call and what the change adds to them; None where the expert has none of the places.

        routing: of the call's rows. start: the position of the first.
        """
        part = self.unit.run(routing)
        wanted = [i for i, p in enumerate(part.positions.tolist()) if p + start in set(self.places)]
        if not wanted:
            return None
        rows, old = part.positions[wanted], part.act[wanted, self.unit.neuron, None]
        new = self.change(old, [int(p) + start for p in rows.tolist()]).float().expand_as(old)
        table = self.unit.model.weights.get(f"expert_out.{self.layer}.{self.unit.expert}")
        added = part.weights[wanted, None] * (new - old) * table[:, self.unit.neuron].float()
        return rows, added


def apply_experts(
    edits: Sequence[ExpertEdit], routing: Routing, x: Float[Tensor, "n d"], start: int
) -> Float[Tensor, "n d"]:
    """What the MLP writes after all edits of its experts; rows that no edit reaches, or changes, keep their bits."""
    out = x
    for edit in edits:
        found = edit.written(routing, start)
        if found is None or not bool((found[1] != 0).any()):
            continue
        rows, added = found
        out = x.clone() if out is x else out
        out[rows] = (out[rows].float() + added.to(out.device)).to(out.dtype)
    return out


def rows_of(routing: Routing, start: int, stop: int) -> Routing:
    """The routing of some positions."""
    parts = {f.name: getattr(routing, f.name) for f in fields(Routing)}
    return Routing(**{name: None if x is None else x[start:stop] for name, x in parts.items()})


def moves_something(edit: ExpertEdit, base: TraceData) -> bool:
    """Whether an edit changes the baseline's own values."""
    found = edit.written(base.routed(edit.layer), 0)
    return found is not None and bool((found[1] != 0).any())
