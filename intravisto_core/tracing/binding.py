"""From the interventions of a request to what a run does at each site (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis import interventions as maths
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.request import (
    Ablate,
    FreezePattern,
    Intervention,
    KnockOut,
    Patch,
    PromptSet,
    RemoveDirection,
    Replace,
    ReplaceMain,
    Scale,
    SetValue,
    Steer,
    SwapDirection,
    TensorRef,
)
from intravisto_core.request.interventions import AtSite, Direction
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Ablation, Lens, Site, SteerUnit
from intravisto_core.tracing.capture import TraceData
from intravisto_core.tracing.edits import Change, Edits, Frozen, KnockedOut, SiteEdit, heads_flag

MOST_REPORTED = 8
_UPDATES = (Site.ATTN_OUT, Site.MLP_OUT)

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
        for each in interventions:
            layer = _index(each.layer, self.model.dimensions.n_layers, "layer")
            if isinstance(each, KnockOut):
                knocked.append(self._knocked(each, layer))
            elif isinstance(each, FreezePattern):
                frozen.append(Frozen(layer, self._heads(each.heads), self.baseline))
            else:
                sites.append(self._site(each, layer))
        return Edits(tuple(sites), tuple(knocked), tuple(frozen), self.notes)

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
        places = resolve(each.positions, self.text.prompt_length, self.text.length)
        if isinstance(each, Patch):
            places, change = self._patch(each, layer, places, part)
        else:
            change = _CHANGES[type(each)](self, each, layer, places, part)
        return SiteEdit(each.site, layer, tuple(sorted(places)), change, part)

    def _part(self, each: AtSite) -> slice | None:
        size, site = self.model.dimensions, each.site
        if site is Site.RESID_MID and self.model.blueprint.parallel:
            raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
        if site is Site.ACT and self.model.blueprint.architecture.w_out is None:
            raise RequestError(
                "act: experts take turns in this model, and a neuron of one is no place of its own. Use mlp_out"
            )
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

    def values(self, source: TraceData, site: Site, layer: int, part: slice | None) -> Float[Tensor, "T width"]:
        """A site of an unedited trace, as rows of positions."""
        x = source.site(site, layer)
        rows = x.transpose(0, 1).flatten(1) if site is Site.Z else x
        return rows if part is None else rows[:, part]

    def source(self, key: str | PromptSet) -> Sequence[TraceData]:
        """The traces that a source stands for."""
        return self.sources[key]

    def _patch(
        self, each: Patch, layer: int, places: tuple[int, ...], part: slice | None
    ) -> tuple[tuple[int, ...], Change]:
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
        return places, _by_position(places, rows)

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


def _by_position(places: Sequence[int], rows: Tensor) -> Change:
    at = {p: i for i, p in enumerate(places)}

    def change(x: Tensor, positions: list[int]) -> Tensor:
        return rows[[at[p] for p in positions]].to(x.device)

    return change


def _replace(binder: Binder, each: Replace, layer: int, *_: Any) -> Change:
    row = binder.row(each, layer)
    vector = maths.token_vector(binder.model, binder.ids(each.token), each.lens, row)

    def change(x: Tensor, _: list[int]) -> Tensor:
        new = vector.expand(x.shape)
        return maths.with_norm_of(new, x.float()) if each.match_norm else new

    return change


def _replace_main(binder: Binder, each: ReplaceMain, layer: int, *_: Any) -> Change:
    model, ids, row, update = binder.model, binder.ids(each.token), binder.row(each, layer), each.site in _UPDATES

    def change(x: Tensor, places: list[int]) -> Tensor:
        old = x.float()
        top = maths.top_tokens(model, old, each.lens, row, update)
        new = maths.main_replaced(model, old, top, ids, each.lens, row)
        binder.report(layer, each.site, places, top, ids, maths.top_tokens(model, new, each.lens, row, update))
        return new

    return change


def _ablate(binder: Binder, each: Ablate, layer: int, places: tuple[int, ...], part: slice | None) -> Change:
    if each.how is Ablation.ZERO:
        return lambda x, _: torch.zeros_like(x)
    if each.how is Ablation.RESAMPLE:
        assert isinstance(each.source, str)
        rows = binder.values(binder.source(each.source)[0], each.site, layer, part)
        if places[-1] >= len(rows):
            raise RequestError(expected("positions", f"at most {len(rows) - 1}, the last of the source", places[-1]))
        return lambda x, positions: rows[positions].to(x.device)
    traces = [binder.baseline] if each.source is None else binder.source(each.source)
    found = torch.cat([binder.values(trace, each.site, layer, part).float() for trace in traces])
    mean = found.mean(0)
    return lambda x, _: mean.to(x.device).expand(x.shape)


def _steer(binder: Binder, each: Steer, layer: int, *_: Any) -> Change:
    direction = binder.direction(each.direction, binder.row(each, layer))
    strength = float(each.strength)
    if each.unit is SteerUnit.STREAM:
        strength *= maths.median_length(binder.values(binder.baseline, each.site, layer, None))
    return lambda x, _: x.float() + strength * direction.to(x.device)


def _remove(binder: Binder, each: RemoveDirection, layer: int, *_: Any) -> Change:
    direction = binder.direction(each.direction, binder.row(each, layer))
    return lambda x, _: maths.without(x.float(), direction.to(x.device))


def _swap(binder: Binder, each: SwapDirection, layer: int, *_: Any) -> Change:
    row = binder.row(each, layer)
    source, target = binder.direction(each.source, row), binder.direction(each.target, row)
    if bool((source @ target).abs() > 1 - 1e-6):
        raise RequestError("target: expected a direction that differs from the source's; got the same line")
    return lambda x, _: maths.swapped(x.float(), source.to(x.device), target.to(x.device))


def _scale(binder: Binder, each: Scale, *_: Any) -> Change:
    return lambda x, _: x.float() * each.factor


def _set_value(binder: Binder, each: SetValue, layer: int, places: tuple[int, ...], part: slice | None) -> Change:
    if isinstance(each.value, float):
        value = each.value
        return lambda x, _: torch.full_like(x, value)
    rows = binder.tensor(each.value, "value")
    whole = binder.values(binder.baseline, each.site, layer, part).shape[1]
    if rows.ndim == 1 and len(rows) in (1, whole):
        return lambda x, _: rows.to(x.device).expand(x.shape)
    if rows.ndim != 2 or rows.shape[1] != whole or len(rows) not in (1, len(places)):
        allowed = f"{whole} numbers, or {len(places)} × {whole}"
        raise RequestError(expected("value", allowed, " × ".join(map(str, rows.shape))))
    return _by_position(places, rows.expand(len(places), whole))


_CHANGES: dict[type, Any] = {
    Replace: _replace,
    ReplaceMain: _replace_main,
    Ablate: _ablate,
    Steer: _steer,
    RemoveDirection: _remove,
    SwapDirection: _swap,
    Scale: _scale,
    SetValue: _set_value,
}
