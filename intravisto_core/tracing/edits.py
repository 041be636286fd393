"""Interventions bound to a model, a text and their sources: what a run asks at every site it passes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intravisto_core.sites import Site
from intravisto_core.tracing.expert_edits import ExpertEdit
from intravisto_core.tracing.functions import FunctionCall, ModuleEdit, Seen
from intravisto_core.tracing.site_edits import Frozen, KnockedOut, SiteEdit, select_between

INSIDE_ATTENTION = (Site.Q, Site.K, Site.V)


@dataclass(slots=True)
class Edits:
    """All interventions of one run.

    modules: functions at modules. notes: filled while it runs, for the reader. seen: what functions may look at.
    standing: the rows of a place that edits are at just now, for those who look at their own place. for_slopes: whether
    the run is differentiated; then every edited value has the slope of its edit, those that come out as they were too.
    constants: the functions that gave values without a history there.
    """

    sites: tuple[SiteEdit, ...] = ()
    knocked: tuple[KnockedOut, ...] = ()
    frozen: tuple[Frozen, ...] = ()
    experts: tuple[ExpertEdit, ...] = ()
    modules: tuple[ModuleEdit, ...] = ()
    notes: list[str] = field(default_factory=list)
    seen: Seen | None = None
    standing: dict[tuple[Site, int], Tensor] = field(default_factory=dict)
    for_slopes: bool = False
    constants: list[str] = field(default_factory=list)
    _by_place: dict[tuple[Site, int], list[SiteEdit]] = field(init=False, default_factory=dict)
    _dead: dict[int, Bool[Tensor, "H q"]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for edit in self.sites:
            self._by_place.setdefault((edit.site, edit.layer), []).append(edit)

    def at(self, site: Site, layer: int) -> bool:
        """Whether anything is done there."""
        return (site, layer) in self._by_place

    def on_pattern(self, layer: int) -> bool:
        """Whether the attention of a layer is edited."""
        return any(k.layer == layer for k in self.knocked) or any(f.layer == layer for f in self.frozen)

    @property
    def have_functions(self) -> bool:
        """Whether functions of the user's own act."""
        return bool(self.modules) or any(e.call is not None for e in self.sites)

    @property
    def by_row(self) -> bool:
        """Whether each value is changed by itself: no function acts, and no attention is edited."""
        inside = any(edit.site in INSIDE_ATTENTION for edit in self.sites)
        return not (self.have_functions or self.knocked or self.frozen or inside)

    @property
    def look_back(self) -> bool:
        """Whether one of them is given what was computed before."""
        calls = [e.call for e in self.sites if e.call is not None] + [e.call for e in self.modules]
        return any(call.takes_seen for call in calls)

    @property
    def first_layer(self) -> int:
        """The lowest layer that an edit changes; the baseline's own pattern, frozen, changes nothing by itself."""
        layers = [e.layer for e in self.sites] + [e.layer for e in self.experts] + [k.layer for k in self.knocked]
        return min(layers + [f.layer for f in self.frozen if f.is_patch], default=0)

    @property
    def first_position(self) -> int:
        """The first position that an edit changes."""
        first = [e.places[0] for e in self.sites] + [e.places[0] for e in self.experts]
        first += [k.queries[0] for k in self.knocked]
        return min(first + [f.queries[0] for f in self.frozen if f.queries], default=0)

    def apply(self, site: Site, layer: int, x: Float[Tensor, "n width"], start: int) -> Float[Tensor, "n width"]:
        """The values after all edits there, in order; x itself where none is about these positions.

        start: the position of the first row. Elements that keep their value keep their bits.
        """
        out = x
        for edit in self._by_place.get((site, layer), ()):
            self.standing[site, layer] = out
            places = select_between(edit.places, start, start + x.shape[0])
            if not places:
                continue
            out = out.clone() if out is x or self.for_slopes else out
            rows = torch.tensor([p - start for p in places], device=x.device)
            columns = edit.columns or slice(None)
            old = out[rows][:, columns]
            new = edit.change(old, places) if edit.call is None else self._call(edit, old)
            new = new.to(old.dtype).expand_as(old)
            out[rows, columns] = new if self.for_slopes else torch.where(new == old, old, new)
            self.standing[site, layer] = out
        return out

    def apply_heads(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, stop: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of one call, (1, heads, positions, width) each, after the edits there.

        stop: one past the last position. Rows of a call are written in place, since the model's cache holds them too;
        where the run is differentiated the tensors are new ones.
        """
        n, out = query.shape[2], []
        for site, x in ((Site.Q, query), (Site.K, key), (Site.V, value)):
            if self.at(site, layer):
                own = x[0, :, -n:]
                old = own.transpose(0, 1).flatten(1)
                new = self.apply(site, layer, old, stop - n)
                if new is not old:
                    rows = new.unflatten(1, (own.shape[0], -1)).transpose(0, 1)
                    if self.for_slopes:
                        x = torch.cat([x[:, :, : x.shape[2] - n], rows[None]], 2)
                    else:
                        own.copy_(rows)
            out.append(x)
        return out[0], out[1], out[2]

    def _call(self, edit: SiteEdit, old: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        """What a function makes of the values at its place; at `z` it is given them by head."""
        assert edit.call is not None
        given = old if edit.n_heads is None else old.unflatten(1, (edit.n_heads, -1)).transpose(0, 1)
        new: Tensor = edit.call(given, self.seen)
        if given.requires_grad and not new.requires_grad:
            self.say_constant(edit.call)
        return new if edit.n_heads is None else new.transpose(0, 1).flatten(1)

    def say_constant(self, call: FunctionCall) -> None:
        """A function gave values that have no history: nothing flows through it."""
        note = (
            f"Apply at {call.what.describe_place()}: what the function {call.what.name} gives does not depend on what "
            "it was given as far as autograd can see (a constant, detached, or computed elsewhere): its slope is 0"
        )
        if note not in self.constants:
            self.constants.append(note)

    def masked(
        self, layer: int, mask: Tensor | None, seen: Tensor | None, like: Tensor, stop: int, n_key: int
    ) -> Tensor | None:
        """The attention mask of one call with cut edges hidden, (1, H, q, k); as it was where none is.

        seen: (1, 1, q, k) keys that each query sees, where the mask does not tell all of it. like: (1, any, q, width),
        for length, dtype and device. stop: one past the last position. Rows with no key left are kept for `silence`.
        """
        self._dead.pop(layer, None)
        n_query = like.shape[2]
        cut = self.cut(layer, stop - n_query, n_query, stop - n_key, n_key, like.device)
        if cut is None:
            return mask
        if mask is None:
            mask = torch.zeros((1, 1, n_query, n_key), dtype=like.dtype, device=like.device)
        if seen is None:
            seen = ~mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
        self._dead[layer] = ~(seen & ~cut).any(-1)[0]
        if mask.dtype == torch.bool:
            return mask | cut
        return mask.expand(-1, cut.shape[1], -1, -1).masked_fill(cut, torch.finfo(mask.dtype).min)

    def cut(
        self, layer: int, first_query: int, n_query: int, first_key: int, n_key: int, device: torch.device
    ) -> Bool[Tensor, "1 H q k"] | None:
        """Which edges of a stretch of queries and keys are cut, or None where no edge is."""
        out = None
        for edit in self.knocked:
            queries = [p - first_query for p in select_between(edit.queries, first_query, first_query + n_query)]
            keys = [p - first_key for p in select_between(edit.keys, first_key, first_key + n_key)]
            if edit.layer != layer or not queries or not keys:
                continue
            if out is None:
                out = torch.zeros((1, len(edit.heads), n_query, n_key), dtype=torch.bool, device=device)
            rows, columns = torch.zeros(n_query, dtype=torch.bool), torch.zeros(n_key, dtype=torch.bool)
            rows[queries], columns[keys] = True, True
            edges = edit.heads[:, None, None] & rows[:, None] & columns
            out |= edges.to(device)
        return out

    def silence(self, layer: int, z: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        """z with 0 for the heads and rows that no key is left for."""
        dead = self._dead.pop(layer, None)
        if dead is None or not bool(dead.any()):
            return z
        split = z.unflatten(1, (dead.shape[0], -1))
        return split.masked_fill(dead.T[:, :, None], 0.0).flatten(1)
