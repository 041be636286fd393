"""Path patching: what one head says to the logits, or to one other head, and to nothing else (docs/methods.md §8).

First the receiver's run with the sender's z of the donor, while all later heads write what they wrote, and the MLPs too
unless the way leads through them. Then, of another head at the end of the way, a run with its queries, keys or values
of that first run, in which all else is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from intravisto_core.experiments.patch_cells import Cell
from intravisto_core.experiments.patch_runs import Exchange, PatchCall
from intravisto_core.inspection.hooks import on_output
from intravisto_core.sites import Site
from intravisto_core.tracing.heads_sink import HeadsSink


@dataclass(frozen=True, slots=True)
class PathEnd:
    """Where a way ends: queries, keys or values of a head (of keys and values the kv head)."""

    layer: int
    head: int
    site: Site


@dataclass(frozen=True, slots=True)
class PathExchange(Exchange):
    """As `Exchange` at z, with what a sender says to one place alone. end: None is the logits.

    through_mlps: whether MLPs on the way read what they are given; else they write what they wrote.
    """

    end: PathEnd | None = None
    through_mlps: bool = False

    @classmethod
    def along(cls, exchange: Exchange, end: PathEnd | None, through_mlps: bool) -> PathExchange:
        """The same two runs along a way."""
        parts = (exchange.model, exchange.receiver, exchange.donor, exchange.site, exchange.measure, exchange.control)
        return cls(*parts, exchange.obstacle, end, through_mlps)

    def run(self, cells: Sequence[Cell], values: Sequence[Tensor]) -> Float[Tensor, " n"]:
        """m of the receiver's run with each sender's word at the end of the way, float64.

        Raises:
            Cancelled: it was cancelled on the way.
        """
        if self.obstacle and len(cells) > 1:
            return torch.cat([self.run([c], [v]) for c, v in zip(cells, values, strict=True)])
        call = PathCall(self, cells, values, full=bool(self.obstacle))
        if self.end is None:
            return call.measure()
        said = call.collect()
        end, first = self.end, call.first
        exchange = Exchange.of(self.model, self.receiver, self.donor, end.site, self.measure, self.control)
        places = tuple((p, p) for p in range(first, self.stop))
        return exchange.run([Cell(end.layer, places, end.head)] * len(said), said)


class PathCall(PatchCall):
    """One forward call in which all but the senders write what they wrote."""

    exchange: PathExchange
    _said: Tensor

    @property
    def looks_inside(self) -> bool:
        """Whether the way ends inside attention."""
        return self.exchange.end is not None

    def collect(self) -> list[Float[Tensor, "n width"]]:
        """The end's queries, keys or values of each row from the call's first position on, as the cells were given."""
        assert self.exchange.end is not None
        self.top = self.exchange.end.layer + 1
        self.run()
        return [self._said[self.order.index(i)] for i in range(len(self.order))]

    def hooks(self, sink: HeadsSink) -> Iterator[RemovableHandle]:
        """As of any call, and those that hold later parts where they were."""
        yield from super().hooks(sink)
        blocks = self.model.blueprint.blocks
        for layer in range(self.cells[0].layer, self.top):
            n = sum(cell.layer < layer for cell in self.cells)
            if n:
                yield on_output(blocks[layer].attn_out, self._hold(Site.ATTN_OUT, layer, n))
            n = sum(cell.layer <= layer for cell in self.cells)
            if not self.exchange.through_mlps:
                yield on_output(blocks[layer].mlp_out, self._hold(Site.MLP_OUT, layer, n))

    def _hold(self, site: Site, layer: int, n: int) -> Callable[[Tensor], Tensor]:
        """The first n rows get what the receiver's run had there."""
        multiplier = self.model.blueprint.multiplier

        def hold(x: Tensor) -> Tensor:
            base = self.exchange.receiver.site(site, layer)[self.first : self.exchange.stop].to(x.device)
            rows = x.reshape(-1, len(base), x.shape[-1]).clone()
            rows[:n] = base if multiplier == 1.0 else base / multiplier
            return rows.view(x.shape)

        return hold

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Keep what the end is given; nothing is changed."""
        end = self.exchange.end
        if end is not None and layer == end.layer:
            x = {Site.Q: query, Site.K: key, Site.V: value}[end.site]
            self._said = x[:, end.head, self.first - self.exchange.stop :].clone()
