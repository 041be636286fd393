"""Runs of one prompt with values of another in some places, many cells in one call (docs/methods.md §8).

A call runs only the positions and layers that its cells can change. Each cell is one row of the batch and joins it at
its own layer, so the batch grows on the way up: no row is run below the layer where it begins to differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache

from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import Cancelled, ModelError, expected
from intravisto_core.experiments.patch_cells import AFTER_ATTENTION, BY_HEAD, INSIDE_ATTENTION, Cell, find_entry
from intravisto_core.inspection.hooks import Handles, on_input, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.models.rotation import turn_between
from intravisto_core.sites import Site
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.heads_sink import HeadsSink
from intravisto_core.tracing.operands import OPEN_KINDS, require_site
from intravisto_core.tracing.reuse import fill_layer, find_obstacle, last_row_only, only_layers

Measure = Callable[[Float[Tensor, "n V"]], Float[Tensor, " n"]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two runs, one of which receives values of the other at a site. stop: one past the position that is measured.

    obstacle: why each cell is a full run of its own, or "".
    """

    model: LoadedModel
    receiver: TraceData
    donor: TraceData
    site: Site
    measure: Measure
    control: RunControl = field(default_factory=RunControl)
    obstacle: str = ""

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        receiver: TraceData,
        donor: TraceData,
        site: Site,
        measure: Measure,
        control: RunControl,
    ) -> Exchange:
        """Two runs, held against what this model's patches need.

        Raises:
            RequestError: the model has no such site. ModelError: its code does not let it be changed.
        """
        require_site(model, site)
        kind = model.blueprint.architecture.attention_kind
        if site is Site.PATTERN and kind not in OPEN_KINDS:
            allowed = f"a site outside of attention: {kind.label} gives its queries, keys and values in one piece"
            raise ModelError(expected("what", allowed, str(site)))
        return cls(model, receiver, donor, site, measure, control, find_obstacle(model, receiver))

    @property
    def stop(self) -> int:
        """One past the position that is measured: the receiver's last."""
        return self.receiver.length

    @property
    def grows(self) -> bool:
        """Whether rows may join a call on its way up; some families lay out their masks for a fixed batch."""
        return not self.obstacle and self.model.blueprint.architecture.attention_kind is AttentionKind.INTERFACE

    def read(self, cell: Cell, data: TraceData, own: bool = False) -> Float[Tensor, "n width"]:
        """A run's values at the cell's places, as the receiver takes them. own: of the receiver itself.

        q and k of another position are turned as at the receiver's.
        """
        at = [a if own else b for a, b in cell.places]
        if self.site is Site.PATTERN:
            heads = slice(None) if cell.head is None else slice(cell.head, cell.head + 1)
            rows = data.pattern(cell.layer, heads, torch.tensor(at, device=data.final.device))
            return rows.transpose(0, 1).flatten(1)
        x = data.site(self.site, cell.layer)
        if self.site not in BY_HEAD:
            return x[at]
        rows = x[:, at] if cell.head is None else x[cell.head : cell.head + 1, at]
        if not own and self.site in (Site.Q, Site.K) and any(a != b for a, b in cell.places):
            rows = turn_between(self.model, rows, (cell.layer, at), (cell.layer, [a for a, _ in cell.places]))
        return rows.transpose(0, 1).flatten(1)

    def run(self, cells: Sequence[Cell], values: Sequence[Tensor]) -> Float[Tensor, " n"]:
        """m of the receiver's run with each cell's values in place, float64.

        Raises:
            Cancelled: it was cancelled on the way.
        """
        if self.obstacle:
            return torch.cat(
                [PatchCall(self, [c], [v], full=True).measure() for c, v in zip(cells, values, strict=True)]
            )
        return PatchCall(self, cells, values).measure()


class PatchCall:
    """One forward call: rows of cells, from their first position and layer on."""

    def __init__(self, exchange: Exchange, cells: Sequence[Cell], values: Sequence[Tensor], full: bool = False) -> None:
        self.exchange, self.model, self.full = exchange, exchange.model, full
        self.n_layers = self.model.dimensions.n_layers
        entries = [0 if full else find_entry(exchange.site, cell.layer) for cell in cells]
        self.order = sorted(range(len(cells)), key=lambda i: entries[i])
        running = [i for i in self.order if entries[i] < self.n_layers]
        self.cells, self.values = [cells[i] for i in running], [values[i] for i in running]
        # what leaves the last block is read at once
        self.read_at_once = [values[i][-1] for i in self.order if entries[i] == self.n_layers]
        self.entries = [entries[i] for i in running]
        self.first = 0 if full else min((cell.first for cell in self.cells), default=0)
        self.joining = Counter(self.entries)
        # one past the last layer that is run
        self.top = self.n_layers

    def measure(self) -> Float[Tensor, " n"]:
        """m of each row, in the order that the cells were given in."""
        parts = [self.run().float()] if self.cells else []
        if self.read_at_once:
            parts.append(self.model.logits(torch.stack(self.read_at_once)))
        found = self.exchange.measure(torch.cat(parts)).double().cpu()
        out = torch.empty_like(found)
        out[torch.tensor(self.order)] = found
        return out

    def run(self) -> Float[Tensor, "n V"]:
        """The logits after the last position, of each row."""
        data, stop = self.exchange.receiver, self.exchange.stop
        start = self.entries[0]
        n_in = 1 if self.exchange.grows else self.joining[start]
        ids = torch.tensor([data.ids[self.first : stop]], device=self.model.device).expand(n_in, -1)
        options = {"logits_to_keep": 1} if self.model.blueprint.keeps_last_logits else {}
        sink = HeadsSink(self.change_heads)
        cache = None if self.full else self._fill_cache(n_in)
        with ExitStack() as stack:
            stack.enter_context(only_layers(self.model, range(start, self.top), data, self.first, stop))
            if not self.full:
                stack.enter_context(last_row_only(self.model.blueprint.blocks[-1], stop - self.first))
            stack.enter_context(Handles(self.hooks(sink)))
            if self.looks_inside:
                stack.enter_context(captured_by(sink))
            out = self.model.network(input_ids=ids, **self.model.cached(cache), **options)
        logits: Tensor = out.logits[:, -1]
        return logits

    def _fill_cache(self, n_in: int) -> DynamicCache:
        """The receiver's keys and values before the call, once for each row that has joined by a layer."""
        cache = DynamicCache(config=self.model.network.config)
        if self.first:
            for layer in range(self.n_layers):
                rows = (
                    max(self._rows_by(layer), n_in)
                    if not self._shares_attention(layer)
                    else self._rows_by(layer - 1) + 1
                )
                fill_layer(self.model, cache, self.exchange.receiver, layer, 0, self.first, rows)
        return cache

    @property
    def looks_inside(self) -> bool:
        """Whether queries, keys or values are asked for."""
        return self.exchange.site in INSIDE_ATTENTION

    def hooks(self, sink: HeadsSink) -> Iterator[RemovableHandle]:
        """What rows join by, what stops a cancelled call, and what changes values."""
        blocks, site = self.model.blueprint.blocks, self.exchange.site
        for layer in sorted(set(self.joining)):
            if layer < self.n_layers:
                yield on_input(blocks[layer].layer, self._join(layer))
            if self._shares_attention(layer):
                yield on_input(blocks[layer].attention, partial(_first_rows, self._rows_by(layer - 1) + 1))
                yield on_input(blocks[layer].w_o, self._spread(layer))
        for layer in range(self.entries[0], self.top):
            yield on_input(blocks[layer].layer, self._stop_when_cancelled)
        for layer in sorted({cell.layer for cell in self.cells}):
            yield from self._change_at(site, layer, sink)

    def _stop_when_cancelled(self, _: Tensor) -> None:
        # an exception among accelerate's own hooks would leave weights where they were fetched to
        if self.exchange.control.cancelled and not self.model.offloaded:
            raise Cancelled("cancelled")

    def _join(self, layer: int) -> Callable[[Tensor], Tensor]:
        """Rows that begin to differ in a layer come in with the receiver's stream."""

        def join(x: Tensor) -> Tensor:
            base = self.exchange.receiver.site(Site.RESID_PRE, layer)[self.first : self.exchange.stop]
            rows = base.to(x.device)[None].expand(self.joining[layer], -1, -1)
            return rows.clone() if layer == self.entries[0] else torch.cat([x, rows])

        return join

    def _rows_by(self, layer: int) -> int:
        """Rows that have joined by a layer, itself counted."""
        return sum(n for entry, n in self.joining.items() if entry <= layer)

    def _shares_attention(self, layer: int) -> bool:
        """Whether rows that join in a layer are not yet apart in its attention."""
        return self.exchange.grows and self.exchange.site in AFTER_ATTENTION and layer in self.joining

    def _spread(self, layer: int) -> Callable[[Tensor], Tensor]:
        """What attention gave the first row that joins is given to all that do."""
        before = self._rows_by(layer - 1)

        def spread(z: Tensor) -> Tensor:
            return torch.cat([z[:before], z[before:].expand(self.joining[layer], *z.shape[1:])])

        return spread

    def _change_at(self, site: Site, layer: int, sink: HeadsSink) -> Iterator[RemovableHandle]:
        block, multiplier = self.model.blueprint.blocks[layer], self.model.blueprint.multiplier
        if site is Site.RESID_PRE:
            yield on_input(block.layer, lambda x: self._changed(x, layer))
        elif site is Site.RESID_POST and layer + 1 < self.n_layers and not self.full:
            yield on_input(self.model.blueprint.blocks[layer + 1].layer, lambda x: self._changed(x, layer))
        elif site is Site.RESID_POST:
            yield on_output(block.layer, lambda x: self._changed(x, layer))
        elif site is Site.RESID_MID:
            assert block.mid_reader is not None
            yield on_input(block.mid_reader, lambda x: self._change_in_place(x, layer))
        elif site is Site.Z:
            yield on_input(block.w_o, lambda x: self._changed(x, layer))
        elif site is Site.PATTERN:
            yield on_input(block.w_o, lambda x: self._mix(x, layer, sink.values[layer]))
        elif site in (Site.ATTN_OUT, Site.MLP_OUT):
            module = block.attn_out if site is Site.ATTN_OUT else block.mlp_out
            yield on_output(module, lambda x: self._changed(x, layer, multiplier))

    def _rows_of(self, layer: int) -> Iterator[tuple[int, Cell, Tensor]]:
        """Rows of the batch whose cell is of a layer."""
        for b, (cell, values) in enumerate(zip(self.cells, self.values, strict=True)):
            if cell.layer == layer:
                yield b, cell, values

    def _changed(self, x: Tensor, layer: int, multiplier: float = 1.0) -> Tensor:
        """x (rows, positions, width) with the cells' values; of what a last row alone is left of, that row."""
        rows = x.reshape(self._batch_at(layer), -1, x.shape[-1]).clone()
        for b, cell, values in self._rows_of(layer):
            at, kept = self._places(cell, rows.shape[1])
            width = rows.shape[-1] if cell.head is None else values.shape[1]
            start = 0 if cell.head is None else cell.head * width
            new = values[kept].to(rows.device)
            new = new if multiplier == 1.0 else new / multiplier
            rows[b, at, start : start + width] = new.to(rows.dtype)
        return rows.view(x.shape)

    def _change_in_place(self, x: Tensor, layer: int) -> None:
        x.copy_(self._changed(x, layer))

    def _mix(self, x: Tensor, layer: int, own: Float[Tensor, "b Hkv T d"]) -> Tensor:
        """z with the donor's rows of a pattern times the row's own values."""
        rows = x.reshape(self._batch_at(layer), -1, x.shape[-1]).clone()
        n_heads = self.model.dimensions.n_heads
        split = rows.unflatten(2, (n_heads, -1))
        for b, cell, values in self._rows_of(layer):
            at, kept = self._places(cell, rows.shape[1])
            heads = range(n_heads) if cell.head is None else (cell.head,)
            weights = values[kept].to(rows.device).unflatten(1, (len(heads), -1))
            for place, head in enumerate(heads):
                # a layer with a window keeps its last values only; weights before them are 0
                v = own[b, head * own.shape[1] // n_heads]
                split[b, at, head] = weights[:, place, -len(v) :].to(v.dtype) @ v
        return rows.view(x.shape)

    def _places(self, cell: Cell, n: int) -> tuple[list[int], list[int]]:
        """The cell's places counted from the end of the call, as far as n rows reach, and which of its places."""
        stop = self.exchange.stop
        kept = [i for i, (own, _) in enumerate(cell.places) if own >= stop - n]
        return [cell.places[i][0] - stop for i in kept], kept

    def _batch_at(self, layer: int) -> int:
        """Rows of the batch while a layer's values are changed."""
        return self._rows_by(find_entry(self.exchange.site, layer))

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Queries, or the call's rows of keys or values, of the cells' heads; in place."""
        x = {Site.Q: query, Site.K: key, Site.V: value}.get(self.exchange.site)
        if x is None:
            return
        for b, cell, values in self._rows_of(layer):
            at, kept = self._places(cell, self.exchange.stop - self.first)
            if cell.head is None:
                x[b, :, at] = values[kept].unflatten(1, (x.shape[1], -1)).transpose(0, 1).to(x)
            else:
                x[b, cell.head, at] = values[kept].to(x)


def _first_rows(n: int, x: Tensor) -> Tensor:
    return x[:n]
