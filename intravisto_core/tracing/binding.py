"""From the interventions of a request to what a run does at each site (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from intravisto_core.errors import RequestError, expected
from intravisto_core.request import FreezePattern, Intervention, KnockOut
from intravisto_core.request.interventions import AtSite
from intravisto_core.request.positions import resolve
from intravisto_core.request.ranges import index
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.expert_edits import ExpertEdit, ExpertNeuron
from intravisto_core.tracing.operands import Columns, Operands
from intravisto_core.tracing.operations import OPERATIONS
from intravisto_core.tracing.site_edits import Change, Frozen, KnockedOut, SiteEdit, flag_heads


class Binder:
    """Binds interventions to what they are computed from: layers, heads and positions become numbers."""

    def __init__(self, operands: Operands) -> None:
        self.operands = operands
        self.model, self.text = operands.model, operands.text

    def bind(self, interventions: Sequence[Intervention]) -> Edits:
        """What the run does.

        Raises:
            RequestError: a layer, head, neuron or position out of range (the message names the range), a site that
                this model does not have, a token text without tokens, or a tensor of another shape.
        """
        sites: list[SiteEdit] = []
        knocked: list[KnockedOut] = []
        frozen: list[Frozen] = []
        experts: list[ExpertEdit] = []
        for each in interventions:
            layer = index(each.layer, self.model.dimensions.n_layers, "layer")
            if isinstance(each, KnockOut):
                knocked.append(self._knocked(each, layer))
            elif isinstance(each, FreezePattern):
                frozen.append(Frozen(layer, self._heads(each.heads), self.operands.baseline))
            elif each.site is Site.ACT and self.model.blueprint.architecture.w_out is None:
                experts.append(self._expert(each, layer))
            else:
                sites.append(self._site(each, layer))
        return Edits(tuple(sites), tuple(knocked), tuple(frozen), tuple(experts), self.operands.notes)

    def _knocked(self, each: KnockOut, layer: int) -> KnockedOut:
        queries, keys = (
            tuple(sorted(resolve(spec, self.text.prompt_length, self.text.length, name)))
            for spec, name in ((each.queries, "queries"), (each.keys, "keys"))
        )
        return KnockedOut(layer, self._heads(each.heads), queries, keys)

    def _heads(self, heads: str | tuple[int, ...]) -> Tensor:
        n_heads = self.model.dimensions.n_heads
        listed = None if isinstance(heads, str) else [index(h, n_heads, "heads", negatives=False) for h in heads]
        return flag_heads(listed, n_heads)

    def _site(self, each: AtSite, layer: int) -> SiteEdit:
        columns = self._columns(each)
        places, change = self._change(each, layer, columns)
        return SiteEdit(each.site, layer, tuple(sorted(places)), change, columns)

    def _expert(self, each: AtSite, layer: int) -> ExpertEdit:
        unit = ExpertNeuron.of(self.model, layer, each.neuron)
        places, change = self._change(each, layer, unit)
        return ExpertEdit(unit, layer, tuple(sorted(places)), change)

    def _change(self, each: AtSite, layer: int, columns: Columns) -> tuple[tuple[int, ...], Change]:
        """The positions, and what becomes of the values there."""
        places = resolve(each.positions, self.text.prompt_length, self.text.length)
        found = OPERATIONS[type(each)](self.operands, each, layer, places, columns)
        return found if isinstance(found, tuple) else (places, found)

    def _columns(self, each: AtSite) -> slice | None:
        size, site = self.model.dimensions, each.site
        if site is Site.RESID_MID and self.model.blueprint.parallel:
            raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
        if each.head is not None:
            head = index(each.head, size.n_heads, "head", negatives=False)
            return slice(head * size.d_value, (head + 1) * size.d_value)
        if each.neuron is None:
            return None
        if isinstance(each.neuron, tuple):
            raise RequestError(expected("neuron", f"0 to {size.d_mlp - 1}: this model has no experts", each.neuron))
        neuron = index(each.neuron, size.d_mlp, "neuron", negatives=False)
        return slice(neuron, neuron + 1)
