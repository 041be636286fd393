"""From the interventions of a request to what a run does at each site (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from intravisto_core.errors import RequestError, expected
from intravisto_core.request import Apply, FreezePattern, Intervention, KnockOut, Patch
from intravisto_core.request.at_site import AtSite
from intravisto_core.request.positions import resolve
from intravisto_core.request.ranges import index
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.expert_edits import ExpertEdit, ExpertNeuron
from intravisto_core.tracing.functions import FunctionCall, ModuleEdit
from intravisto_core.tracing.module_values import find_modules
from intravisto_core.tracing.operands import Columns, Operands, require_site
from intravisto_core.tracing.operations import OPERATIONS, match_places
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
        modules: list[ModuleEdit] = []
        for each in interventions:
            if isinstance(each, Apply):
                bound = self._function(each)
                if isinstance(bound, ModuleEdit):
                    modules.append(bound)
                else:
                    sites.append(bound)
                continue
            layer = index(each.layer, self.model.dimensions.n_layers, "layer")
            if isinstance(each, KnockOut):
                knocked.append(self._knocked(each, layer))
            elif isinstance(each, Patch) and each.site is Site.PATTERN:
                frozen.append(self._patched_pattern(each, layer))
            elif isinstance(each, FreezePattern):
                frozen.append(Frozen(layer, self._heads(each.heads), self.operands.baseline))
            elif each.site is Site.ACT and self.model.blueprint.architecture.w_out is None:
                experts.append(self._expert(each, layer))
            else:
                sites.append(self._site(each, layer))
        return Edits(tuple(sites), tuple(knocked), tuple(frozen), tuple(experts), tuple(modules), self.operands.notes)

    def _function(self, each: Apply) -> SiteEdit | ModuleEdit:
        call, size = FunctionCall(each), self.model.dimensions
        if each.module is not None:
            ((path, (module, side)),) = find_modules(self.model, (each.module,)).items()
            return ModuleEdit(module, path, side, call)
        assert each.site is not None
        assert each.layer is not None
        layer = index(each.layer, size.n_layers, "layer")
        if each.site is Site.RESID_MID and self.model.blueprint.parallel:
            raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
        if each.site is Site.ACT and self.model.blueprint.architecture.w_out is None:
            raise RequestError("act: this model is a mixture of experts. Use Apply(module=) at one of its modules")
        places = resolve(each.positions, self.text.prompt_length, self.text.length)
        heads = size.n_heads if each.site is Site.Z else None
        return SiteEdit(each.site, layer, tuple(sorted(places)), lambda x, _: x, call=call, n_heads=heads)

    def _knocked(self, each: KnockOut, layer: int) -> KnockedOut:
        queries, keys = (
            tuple(sorted(resolve(spec, self.text.prompt_length, self.text.length, name)))
            for spec, name in ((each.queries, "queries"), (each.keys, "keys"))
        )
        return KnockedOut(layer, self._heads(each.heads), queries, keys)

    def _patched_pattern(self, each: Patch, layer: int) -> Frozen:
        """Rows of another text's pattern; a key stands for the key at the same place.

        Raises:
            RequestError: the texts have different lengths, or rows are to be moved.
        """
        donor = self.operands.source(each.source)[0]
        if donor.length != self.operands.baseline.length:
            allowed = f"a trace of the same length ({self.operands.baseline.length}), since a pattern is about its keys"
            raise RequestError(expected("source", allowed, f"one of {donor.length}"))
        places, given = match_places(self.operands, each, donor)
        if places != given:
            raise RequestError(expected("source_positions", "the same positions, at pattern", given))
        from_layer = None
        if each.source_layer is not None:
            from_layer = index(each.source_layer, self.model.dimensions.n_layers, "source_layer")
        heads = "all" if each.head is None else (each.head,)
        return Frozen(layer, self._heads(heads), donor, tuple(sorted(places)), from_layer)

    def _heads(self, heads: str | tuple[int, ...]) -> Tensor:
        n_heads = self.model.dimensions.n_heads
        listed = None if isinstance(heads, str) else [index(h, n_heads, "heads") for h in heads]
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
        require_site(self.model, site)
        if each.head is not None:
            head = index(each.head, size.n_kv_heads if site in (Site.K, Site.V) else size.n_heads, "head")
            width = size.d_head if site in (Site.Q, Site.K) else size.d_value
            return slice(head * width, (head + 1) * width)
        if each.neuron is None:
            return None
        if isinstance(each.neuron, tuple):
            raise RequestError(expected("neuron", f"0 to {size.d_mlp - 1}: this model has no experts", each.neuron))
        neuron = index(each.neuron, size.d_mlp, "neuron", negatives=False)
        return slice(neuron, neuron + 1)
