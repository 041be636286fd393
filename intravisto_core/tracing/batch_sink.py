"""Where a batch of runs puts what it captures: as `CaptureSink`, with one row a prompt, padded at the right.

Slots: the prompt's positions fill the first ones of a row, up to its own length; what is generated follows after the
longest prompt's. No padded slot is read again, and none comes into a trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from intravisto_core.analysis.experts import Routing
from intravisto_core.errors import Cancelled, IntravistoError, TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.batch_masks import find_visible_keys_of_rows
from intravisto_core.tracing.capture import BY_HEAD, route_experts, site_shapes, wanted_sites
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.functions import ModuleEdit
from intravisto_core.tracing.row_values import read_row, write_row
from intravisto_core.tracing.sink import AttentionCall, Sink
from intravisto_core.tracing.trace_data import AttentionFacts


class BatchSink(Sink):
    """Buffers of runs that share their forward calls. lengths: of the prompts. row_edits: of each run.

    fed: the rows that are still run. errors: of the rows that a function failed for; what it was about stays as it was.
    """

    def __init__(
        self,
        model: LoadedModel,
        lengths: Sequence[int],
        n_new: int,
        sites: tuple[Site, ...] | None,
        row_edits: Sequence[Edits] | None = None,
    ) -> None:
        super().__init__(None if row_edits is None else _merge(row_edits), offloaded=model.offloaded)
        self.lengths, self.n_rows = list(lengths), len(lengths)
        self.longest = max(lengths)
        self.row_edits = row_edits
        self.wanted = wanted_sites(model, sites, self.edits is not None and self.edits.look_back)
        size, dtype, device = model.dimensions, model.dtype, model.device
        self._n_heads, self.n_layers = size.n_heads, size.n_layers
        n = self.longest + n_new
        self.routing = route_experts(model, self.wanted)
        shapes = site_shapes(size, n)
        self.buffers = {
            site: torch.empty((size.n_layers, self.n_rows, *shapes[site]), dtype=dtype, device=device)
            for site in Site
            if site in self.wanted
        }
        self.n_slots = n
        self.final = torch.empty((self.n_rows, n, size.d_model), dtype=dtype, device=device)
        self.first = torch.zeros((size.n_layers, self.n_rows, n), dtype=torch.int32, device=device)
        self.last = torch.zeros_like(self.first)
        self.facts: list[AttentionFacts | None] = [None] * size.n_layers
        self._mask: tuple[Tensor | None, Tensor, Tensor] | None = None
        self._there: set[tuple[Site, int]] = set()
        self.errors: dict[int, IntravistoError] = {}
        self.fed = list(range(self.n_rows))
        self._here: slice | Tensor = slice(None)
        self._ended_facts: dict[int, tuple[AttentionFacts | None, ...]] = {}

    @property
    def slots(self) -> slice:
        """The slots that the current call fills."""
        return slice(self.start, self.stop)

    def drop(self, rows: Mapping[int, int]) -> None:
        """Run these rows no more. rows: the positions of each by now."""
        self._ended_facts |= {row: self.pick_facts(row, n) for row, n in rows.items()}
        self.fed = [row for row in self.fed if row not in rows]
        self._here = torch.tensor(self.fed, device=self.final.device)

    def span(self, row: int) -> tuple[int, int]:
        """First position of the call in a row's own text, and how many of its slots are the row's."""
        if self.start == 0:
            return 0, self.lengths[row]
        return self.lengths[row] + self.start - self.longest, self.stop - self.start

    def keep(self, site: Site, layer: int, x: Tensor) -> None:
        """Keep one call's rows of a site, of any shape (…, width)."""
        self.buffers[site][layer][self._here, self.slots] = self._rows(x)
        self._there.add((site, layer))

    def keep_final(self, x: Tensor) -> None:
        """Keep one call's rows of the final stream."""
        self.final[self._here, self.slots] = x

    def route(self, layer: int, part: str, x: Tensor) -> None:
        """Keep what one call gave or got of a part of `Routing`."""
        kept, x = self.routing[layer], self._rows(x)
        if getattr(kept, part) is None:
            setattr(kept, part, x.new_empty((self.n_rows, self.n_slots, x.shape[-1])))
        getattr(kept, part)[self._here, self.slots] = x

    def attention(self, layer: int, call: AttentionCall) -> None:
        """Keep queries, and the new rows of keys and values, of one call; its rows are those that are fed."""
        for site, x in call.new_rows():
            if site in self.wanted:
                self.buffers[site][layer][self._here, :, self.slots] = x
                self._there.add((site, layer))
        if Site.Q in self.wanted:
            first, last = self._visible(call.mask, call.n_query, call.n_seen)
            self.first[layer][self._here, self.slots], self.last[layer][self._here, self.slots] = first, last
            self.facts[layer] = call.facts.on(self.first.device)

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As they are: edits of queries, keys and values run alone."""
        return query, key, value

    def masked(
        self, layer: int, mask: Tensor | None, query: Tensor, n_key: int, seen: Tensor | None = None
    ) -> Tensor | None:
        """The mask as it is: edits of the attention pattern run alone."""
        return mask

    def change(
        self, x: Tensor, edit: Callable[[Edits, Tensor, int], Tensor], place: tuple[Site, int], scale: float = 1.0
    ) -> Tensor | None:
        """x after the edits of every run, row by row, or None where they change nothing."""
        if not self.active or self.row_edits is None:
            return None
        rows = self._rows(x)
        spans = [self.span(row) for row in self.fed]
        for i, row in enumerate(self.fed):
            self.row_edits[row].standing[place] = rows[i, : spans[i][1]] * scale
        new = rows
        for i, row in enumerate(self.fed):
            start, n = spans[i]
            try:
                found = rows[i, :n] if row in self.errors else edit(self.row_edits[row], rows[i, :n], start)
            except IntravistoError as error:
                self._note(row, error)
                continue
            if found is not rows[i, :n] and not torch.equal(found, rows[i, :n]):
                new = rows.clone() if new is rows else new
                new[i, :n] = found
        return None if new is rows else new.view(x.shape)

    def change_module(self, edit: ModuleEdit, value: Any) -> Any:
        """What functions at a module make of its value, row by row."""
        assert self.row_edits is not None
        self._passing[edit.path] = value
        for i, row in enumerate(self.fed):
            edits = self.row_edits[row]
            for own in edits.modules:
                if own.path != edit.path or row in self.errors:
                    continue
                old = self.current_module(edit.path, row)
                try:
                    new = own.call(old, edits.seen)
                    if new is not old:
                        value = write_row(value, new, i, len(self.fed), self.stop - self.start, self.span(row)[1])
                        self._passing[edit.path] = value
                except IntravistoError as error:
                    self._note(row, error)
        return value

    def _note(self, row: int, error: IntravistoError) -> None:
        """A function failed for a row: that row ends with it, the others go on."""
        if isinstance(error, Cancelled):
            raise error
        self.errors[row] = error

    def keep_module(self, path: str, value: Any) -> None:
        """Never: what modules give is kept of runs alone."""
        raise TraceError("modules: expected a run alone; got a batch")

    def current(self, site: Site, layer: int, row: int = 0) -> Tensor | None:
        """What this call computed of a site for a row, (n, width) or (heads, n, width); None before it was there."""
        assert self.row_edits is not None
        found = self.row_edits[row].standing.get((site, layer))
        if found is None:
            if (site, layer) not in self._there or row not in self.fed:
                return None
            n = self.span(row)[1]
            buffer = self.buffers[site][layer][row]
            places = slice(self.start, self.start + n)
            found = buffer[:, places] if site in BY_HEAD else buffer[places]
        return found.unflatten(1, (self._n_heads, -1)).transpose(0, 1) if site is Site.Z else found

    def current_module(self, path: str, row: int = 0) -> Any:
        """What a module gave in this call for a row, batch axis 1; None before it was called."""
        if path not in self._passing or row not in self.fed:
            return None
        return read_row(
            self._passing[path], self.fed.index(row), len(self.fed), self.stop - self.start, self.span(row)[1]
        )

    def _forget_call(self) -> None:
        super()._forget_call()
        self._there.clear()
        self._mask = None
        for edits in self.row_edits or ():
            edits.standing.clear()

    def _rows(self, x: Tensor) -> Tensor:
        """(…, width) as (rows that are fed, slots of the call, width)."""
        return x.reshape(len(self.fed), self.stop - self.start, x.shape[-1])

    def _visible(self, mask: Tensor | None, n_query: int, n_key: int) -> tuple[Tensor, Tensor]:
        """The stretch of keys that each query sees, (rows, queries) each, as positions of the row's own text."""
        if self._mask is not None and self._mask[0] is mask:
            return self._mask[1], self._mask[2]
        starts, counts = zip(*(self.span(row) for row in self.fed), strict=True)
        first, last = find_visible_keys_of_rows(mask, n_query, n_key, starts, counts, self.first.device)
        self._mask = (mask, first, last)
        return self._mask[1], self._mask[2]

    def pick(self, row: int, n: int) -> tuple[dict[Site, Tensor], Tensor, Tensor, Tensor]:
        """Buffers, final stream, first and last keys of a row's n positions."""

        def own(x: Tensor, dim: int) -> Tensor:
            prompt = self.lengths[row]
            parts = [x.narrow(dim, 0, min(prompt, n))]
            if n > prompt:
                parts.append(x.narrow(dim, self.longest, n - prompt))
            return torch.cat(parts, dim)

        buffers = {s: own(b[:, row], 2 if s in BY_HEAD else 1) for s, b in self.buffers.items()}
        if Site.Z in buffers:
            buffers[Site.Z] = buffers[Site.Z].unflatten(2, (self._n_heads, -1)).transpose(1, 2)
        return buffers, own(self.final[row], 0), own(self.first[:, row], 1), own(self.last[:, row], 1)

    def pick_routing(self, row: int, n: int) -> tuple[Routing, ...]:
        """What went into the experts of each layer, of a row's n positions."""
        prompt = self.lengths[row]

        def own(x: Tensor) -> Tensor:
            return torch.cat([x[row, : min(prompt, n)], x[row, self.longest : self.longest + max(0, n - prompt)]])

        return tuple(Routing(**{name: own(x) for name, x in layer.tensors()}) for layer in self.routing)

    def pick_facts(self, row: int, n: int) -> tuple[AttentionFacts | None, ...]:
        """What the scores of each layer are computed with, of a row."""
        if row in self._ended_facts:
            return self._ended_facts[row]
        shift = self.longest - self.lengths[row] if self.stop > self.longest else 0

        def own(facts: AttentionFacts | None) -> AttentionFacts | None:
            if facts is None or facts.key_bias is None:
                return facts
            bias = facts.key_bias
            if bias.shape[0] != self._n_heads:
                bias = bias.unflatten(0, (len(self.fed), -1))[self.fed.index(row)]
            return replace(facts, key_bias=bias[:, shift : shift + n].clone())

        return tuple(own(facts) for facts in self.facts)

    @property
    def nbytes(self) -> int:
        """Memory of the buffers, in bytes."""
        return sum(math.prod(b.shape) * b.element_size() for b in (*self.buffers.values(), self.final))


def _merge(row_edits: Sequence[Edits]) -> Edits:
    """Where any of the runs is edited; each place of a function at a module once, one that looks back before others."""
    modules: dict[str, ModuleEdit] = {}
    for edits in row_edits:
        for edit in edits.modules:
            if edit.path not in modules or edit.call.takes_seen:
                modules[edit.path] = edit
    return Edits(tuple(site for edits in row_edits for site in edits.sites), modules=tuple(modules.values()))
