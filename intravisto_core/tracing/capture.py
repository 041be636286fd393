"""Where a run puts what it captures: one buffer a site, allocated once, filled position by position."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.experts import Routing
from intravisto_core.errors import TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.models.loaded import Dimensions
from intravisto_core.sites import Site
from intravisto_core.tracing.buffers import BufferAllocator
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.sink import AttentionCall, Sink
from intravisto_core.tracing.trace_data import AttentionFacts, TraceData

BY_HEAD = (Site.Q, Site.K, Site.V)


def wanted_sites(model: LoadedModel, sites: tuple[Site, ...] | None, every_resid_post: bool) -> set[Site]:
    """The sites that a run keeps by hooks of their own; see `CaptureSink`."""
    wanted = {kept for site in (Site if sites is None else sites) for kept in site.captured}
    if Site.RESID_POST in wanted:
        wanted.add(Site.RESID_PRE)
    if not every_resid_post:
        wanted.discard(Site.RESID_POST)
    if model.blueprint.parallel:
        wanted.discard(Site.RESID_MID)
    return wanted


def route_experts(model: LoadedModel, wanted: set[Site]) -> list[Routing]:
    """Where the experts of each layer go, in place of `act` among the wanted sites; none where there are no experts."""
    architecture = model.blueprint.architecture
    if architecture.w_out is not None:
        return []
    asked = Site.ACT in wanted
    wanted.discard(Site.ACT)
    routed = asked and architecture.experts is not None
    return [Routing() for _ in range(model.dimensions.n_layers)] if routed else []


def site_shapes(size: Dimensions, n: int) -> dict[Site, tuple[int, ...]]:
    """What one layer of each site is, of n positions, as it is captured: z with its heads side by side."""
    own = {
        Site.Q: (size.n_heads, n, size.d_head),
        Site.K: (size.n_kv_heads, n, size.d_head),
        Site.V: (size.n_kv_heads, n, size.d_value),
        Site.Z: (n, size.n_heads * size.d_value),
        Site.ACT: (n, size.d_mlp),
    }
    return {site: own.get(site, (n, size.d_model)) for site in Site}


class CaptureSink(Sink):
    """Buffers of a run under way.

    every_resid_post: also keep `resid_post` of all layers by its own hook (the self-check compares it). base: the run
    whose layers before `first_layer` and positions before `first_position` hold here too: they are not run, and have no
    room here.
    """

    def __init__(
        self,
        model: LoadedModel,
        length: int,
        sites: tuple[Site, ...] | None,
        every_resid_post: bool = False,
        edits: Edits | None = None,
        base: TraceData | None = None,
        first_layer: int = 0,
        first_position: int = 0,
    ) -> None:
        super().__init__(edits, first_layer, first_position, model.offloaded)
        self.base = base
        self.wanted = wanted_sites(model, sites, every_resid_post)
        size, n_layers = model.dimensions, model.dimensions.n_layers
        self.length, n, n_kept = length, length - first_position, n_layers - first_layer
        self.routing = route_experts(model, self.wanted)
        shapes = site_shapes(size, n)
        dtype, device = model.dtype, model.device
        kept = {site: (n_kept, *shapes[site]) for site in Site if site in self.wanted}
        self.shelf = BufferAllocator(sum(map(math.prod, kept.values())) * dtype.itemsize, device)
        self.buffers = {site: self.shelf.empty(shape, dtype) for site, shape in kept.items()}
        self.final = torch.empty((length, size.d_model), dtype=dtype, device=device)
        self.first = torch.zeros((n_layers, length), dtype=torch.int32, device=model.device)
        self.last = torch.zeros_like(self.first)
        self.facts: list[AttentionFacts | None] = [None] * n_layers
        self._there: set[tuple[Site, int]] = set()
        self._n_heads = size.n_heads
        self._mask: tuple[Tensor | None, Tensor, Tensor] | None = None

    def attention(self, layer: int, call: AttentionCall) -> None:
        """Keep queries, and the new rows of keys and values, of one call."""
        for site, x in call.new_rows():
            if site in self.wanted:
                self.buffers[site][layer - self.first_layer, :, self.rows] = x[0]
                self._there.add((site, layer))
        if Site.Q in self.wanted:
            first, last = self._visible(call.mask, call.n_query, call.n_seen)
            self.first[layer, self.start : self.stop] = first
            self.last[layer, self.start : self.stop] = last
            self.facts[layer] = call.facts.on(self.first.device)

    def keep(self, site: Site, layer: int, x: Tensor) -> None:
        """Keep one call's rows of a site, of any shape (…, width)."""
        self.buffers[site][layer - self.first_layer][self.rows] = x.reshape(-1, x.shape[-1])
        self._there.add((site, layer))

    def keep_final(self, x: Float[Tensor, "1 n d"]) -> None:
        """Keep one call's rows of the final stream."""
        self.final[self.start : self.stop] = x[0]

    def current(self, site: Site, layer: int, row: int = 0) -> Tensor | None:
        """What this call computed of a site, (n, width) or (heads, n, width); None before it was there."""
        assert self.edits is not None
        found = self.edits.standing.get((site, layer))
        if found is None:
            if (site, layer) not in self._there:
                return None
            buffer = self.buffers[site][layer - self.first_layer]
            found = buffer[:, self.rows] if site in BY_HEAD else buffer[self.rows]
        found = found.to(self.final.device)
        return found.unflatten(1, (self._n_heads, -1)).transpose(0, 1) if site is Site.Z else found

    def so_far(self, site: Site, layer: int) -> Float[Tensor, "heads T width"]:
        """Queries, keys or values of a layer (heads, T, width) up to the end of the current call."""
        own = self.buffers[site][layer - self.first_layer][:, : self.rows.stop].to(self.final.device)
        return own if self.base is None else torch.cat([self.base.site(site, layer)[:, : self.first_position], own], 1)

    @property
    def rows(self) -> slice:
        """The rows of the buffers that the current call fills."""
        return slice(self.start - self.first_position, self.stop - self.first_position)

    def route(self, layer: int, part: str, x: Tensor) -> None:
        """Keep what one call gave or got of a part of `Routing`, (positions, width)."""
        kept, x = self.routing[layer], x.reshape(-1, x.shape[-1])
        if getattr(kept, part) is None:
            setattr(kept, part, x.new_empty((self.length, x.shape[-1])))
        getattr(kept, part)[self.start : self.stop] = x

    def _visible(self, mask: Tensor | None, n_query: int, n_key: int) -> tuple[Tensor, Tensor]:
        """The stretch of keys that each query sees; layers of one call share a mask, so it is read once."""
        if self._mask is None or self._mask[0] is not mask:
            self._mask = (mask, *find_visible_keys(mask, n_query, n_key, self.stop - n_key, self.first.device))
        return self._mask[1], self._mask[2]

    def _forget_call(self) -> None:
        super()._forget_call()
        self._there.clear()
        self._mask = None

    def finish(self, length: int) -> tuple[dict[Site, Tensor], Tensor, Tensor, Tensor]:
        """Buffers, final stream, first and last keys, cut to the positions that were run, as `routing` is."""

        def cut(x: Tensor, dim: int, n: int = length) -> Tensor:
            part = x.narrow(dim, 0, n)
            return part if n > 0.8 * x.shape[dim] or self.shelf.in_file else part.clone()

        self.routing = [Routing(**{name: cut(x, 0) for name, x in r.tensors()}) for r in self.routing]
        n = length - self.first_position
        buffers = {s: cut(b, 2 if s in BY_HEAD else 1, n) for s, b in self.buffers.items()}
        if Site.Z in buffers:
            z = buffers[Site.Z]
            buffers[Site.Z] = z.unflatten(2, (self._n_heads, -1)).transpose(1, 2)
        return buffers, cut(self.final, 0), cut(self.first, 1), cut(self.last, 1)


def find_visible_keys(
    mask: Tensor | None, n_query: int, n_key: int, offset: int, device: torch.device
) -> tuple[Int[Tensor, " q"], Int[Tensor, " q"]]:
    """First and last visible key of each query, from an additive or boolean mask (1, 1, q, k); absolute positions.

    Raises:
        TraceError: what a query sees is not one stretch, or differs by head.
    """
    if mask is None:
        first = torch.zeros(n_query, dtype=torch.int32, device=device)
        return first + offset, first + offset + n_key - 1
    seen = mask[0, 0] if mask.dtype == torch.bool else mask[0, 0] == 0
    if mask.shape[1] != 1:
        raise TraceError("attention mask: expected one for all heads; this model's differs by head")
    first = seen.int().argmax(-1)
    last = seen.shape[1] - 1 - seen.flip(-1).int().argmax(-1)
    if not torch.equal(seen.sum(-1), last - first + 1):
        raise TraceError("attention mask: expected each query to see one stretch of keys; this model's has gaps")
    return (first + offset).int(), (last + offset).int()
