"""From the interventions of a request to what a run does at each site (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis import interventions as maths
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.request import (
    FreezePattern,
    Intervention,
    KnockOut,
    Patch,
    PromptSet,
    TensorRef,
)
from intravisto_core.request.interventions import AtSite, Direction
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Lens, Site
from intravisto_core.tracing.capture import TraceData
from intravisto_core.tracing.changes import CHANGES, Part, by_position
from intravisto_core.tracing.edits import Change, Edits, Frozen, KnockedOut, SiteEdit, heads_flag
from intravisto_core.tracing.expert_edits import ExpertEdit, ExpertNeuron

MOST_REPORTED = 8

Sources = Mapping[str | PromptSet, Sequence[TraceData]]


@dataclass(frozen=True, slots=True)
class Text:
    """The text that positions are about. length: what it has, or can come to have."""

    prompt_length: int
    length: int


class Binder:
    """Binds interventions to a model, a text, the unedited baseline and other traces (by id or prompt set)."""

    def __init__(self, model: LoadedModel, text: Text, baseline: TraceData, sources: Sources) -> None:
        self.model, self.text, self.baseline, self.sources = model, text, baseline, sources
        self.notes: list[str] = []

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
            layer = _index(each.layer, self.model.dimensions.n_layers, "layer")
            if isinstance(each, KnockOut):
                knocked.append(self._knocked(each, layer))
            elif isinstance(each, FreezePattern):
                frozen.append(Frozen(layer, self._heads(each.heads), self.baseline))
            elif each.site is Site.ACT and self.model.blueprint.architecture.w_out is None:
                experts.append(self._expert(each, layer))
            else:
                sites.append(self._site(each, layer))
        return Edits(tuple(sites), tuple(knocked), tuple(frozen), tuple(experts), self.notes)

    def _knocked(self, each: KnockOut, layer: int) -> KnockedOut:
        queries, keys = (
            tuple(sorted(resolve(spec, self.text.prompt_length, self.text.length, name)))
            for spec, name in ((each.queries, "queries"), (each.keys, "keys"))
        )
        return KnockedOut(layer, self._heads(each.heads), queries, keys)

    def _heads(self, heads: str | tuple[int, ...]) -> Tensor:
        n_heads = self.model.dimensions.n_heads
        listed = None if isinstance(heads, str) else [_part(h, n_heads, "heads") for h in heads]
        return heads_flag(listed, n_heads)

    def _site(self, each: AtSite, layer: int) -> SiteEdit:
        part = self._part(each)
        places, change = self._change(each, layer, part)
        return SiteEdit(each.site, layer, tuple(sorted(places)), change, part)

    def _expert(self, each: AtSite, layer: int) -> ExpertEdit:
        unit = ExpertNeuron.of(self.model, layer, each.neuron)
        places, change = self._change(each, layer, unit)
        return ExpertEdit(unit, layer, tuple(sorted(places)), change)

    def _change(self, each: AtSite, layer: int, part: Part) -> tuple[tuple[int, ...], Change]:
        """The positions, and what becomes of the values there."""
        places = resolve(each.positions, self.text.prompt_length, self.text.length)
        if isinstance(each, Patch):
            return self._patch(each, layer, places, part)
        return places, CHANGES[type(each)](self, each, layer, places, part)

    def _part(self, each: AtSite) -> slice | None:
        size, site = self.model.dimensions, each.site
        if site is Site.RESID_MID and self.model.blueprint.parallel:
            raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
        if each.head is not None:
            head = _part(each.head, size.n_heads, "head")
            return slice(head * size.d_value, (head + 1) * size.d_value)
        if each.neuron is None:
            return None
        if isinstance(each.neuron, tuple):
            raise RequestError(expected("neuron", f"0 to {size.d_mlp - 1}: this model has no experts", each.neuron))
        neuron = _part(each.neuron, size.d_mlp, "neuron")
        return slice(neuron, neuron + 1)

    def row(self, each: AtSite, layer: int) -> int:
        """The heatmap row of a site."""
        return layer if each.site is Site.RESID_PRE else layer + 1

    def ids(self, token: str) -> list[int]:
        """The tokens of a text; of several the mean is taken, and it is said."""
        ids = self.model.reader.encode(token, add_special_tokens=False)
        if not ids:
            raise RequestError(f"token: expected a text of at least one token; got {token!r}")
        if len(ids) > 1:
            self._say(f"“{self.model.reader.shown(ids[0])}…” has {len(ids)} tokens: their mean is taken")
        return ids

    def direction(self, value: Direction, row: int) -> Float[Tensor, " d"]:
        """The vector of a direction, of unit norm."""
        if isinstance(value, str):
            return maths.token_direction(self.model, self.ids(value), Lens.OUTPUT, row)
        vector = self.tensor(value, "direction")
        width = self.model.dimensions.d_model
        if vector.shape != (width,):
            raise RequestError(expected("direction", f"a vector of {width} numbers", tuple(vector.shape)))
        if not bool(vector.norm() > 0):
            raise RequestError("direction: expected one that is not zero; got zero")
        return maths.unit(vector)

    def tensor(self, ref: TensorRef, name: str) -> Tensor:
        """The array of a reference."""
        if ref.content is None:
            raise RequestError(
                f"{name}: expected the array {ref.hash[:12]}… beside the request; it did not come with it"
            )
        return torch.from_numpy(ref.content.copy()).to(self.model.device)

    def values(self, source: TraceData, site: Site, layer: int, part: Part) -> Float[Tensor, "T width"]:
        """A site of an unedited trace, as rows of positions."""
        if isinstance(part, ExpertNeuron):
            return replace(part, layer=layer).values(source)
        x = source.site(site, layer)
        rows = x.transpose(0, 1).flatten(1) if site is Site.Z else x
        return rows if part is None else rows[:, part]

    def source(self, key: str | PromptSet) -> Sequence[TraceData]:
        """The traces that a source stands for."""
        return self.sources[key]

    def _patch(self, each: Patch, layer: int, places: tuple[int, ...], part: Part) -> tuple[tuple[int, ...], Change]:
        donor = self.source(each.source)[0]
        given = each.positions if each.source_positions is None else each.source_positions
        name = "positions on the source" if each.source_positions is None else "source_positions"
        chosen = resolve(given, donor.prompt_length, donor.length, name)
        if each.positions == "all" and given == "all":
            n = min(len(places), len(chosen))
            if n < self.text.prompt_length:
                self._say(f"the source has {donor.length} positions: later ones are left as they are")
            places, chosen = places[:n], chosen[:n]
        if len(chosen) == 1:
            chosen = chosen * len(places)
        if len(chosen) != len(places):
            raise RequestError(expected(name, f"{len(places)} positions, or one for all", f"{len(chosen)} positions"))
        from_layer = layer
        if each.source_layer is not None:
            from_layer = _index(each.source_layer, self.model.dimensions.n_layers, "source_layer")
        rows = self.values(donor, each.site, from_layer, part)[list(chosen)].clone()
        return places, by_position(places, rows)

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def report(
        self, layer: int, site: Site, places: list[int], before: Tensor, asked: list[int], after: Tensor
    ) -> None:
        """Say what a replaced main component came to: the new top token need not be the requested one."""
        shown = self.model.reader.shown
        new = shown(asked[0]) + ("…" if len(asked) > 1 else "")
        for place, old, top in zip(places, before.tolist(), after.tolist(), strict=True):
            reported = sum("main component" in note for note in self.notes)
            if reported == MOST_REPORTED:
                self._say("further main components were replaced; only the first are listed")
            if reported < MOST_REPORTED:
                self._say(
                    f"layer {layer}, position {place}, {site.label}: main component {shown(old)} became {new}; "
                    f"the top token there is now {shown(top)}"
                )


def _index(value: int, n: int, name: str) -> int:
    if not -n <= value < n:
        raise RequestError(expected(name, f"{-n} to {n - 1}", value))
    return value % n


def _part(value: int, n: int, name: str) -> int:
    if not 0 <= value < n:
        raise RequestError(expected(name, f"0 to {n - 1}", value))
    return value
