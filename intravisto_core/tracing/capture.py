"""Where a run puts what it captures: one buffer a site, allocated once, filled position by position."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intravisto_core.analysis.attention import pattern
from intravisto_core.analysis.experts import ExpertRun, Routing
from intravisto_core.errors import TraceError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.models.free_memory import require_free
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.shelf import Shelf


@dataclass(frozen=True, slots=True)
class AttentionFacts:
    """What the scores of a layer are computed with.

    key_bias: what is added to every score of a key, for each head (ALiBi). sinks: a score for each head that takes
    part in the softmax and belongs to no key. in_float32: the scores are computed in float32 whatever the dtype.
    """

    scaling: float
    soft_cap: float = 0.0
    key_bias: Float[Tensor, "H T"] | None = None
    sinks: Float[Tensor, " H"] | None = None
    in_float32: bool = False

    def on(self, device: torch.device) -> AttentionFacts:
        """The same on a device: layers of one model may lie on several."""
        parts = {name: x.to(device) for name in ("key_bias", "sinks") if (x := getattr(self, name)) is not None}
        return replace(self, **parts) if parts else self


@dataclass(slots=True)
class TraceData:
    """The activations of one run, in the model's dtype on its device.

    buffers: (L, T, width), or (L, heads, T, width) of sites with heads. final: `resid_post[L−1]` (T, d).
    first, last: (L, T), the keys that each query may see. layers_are_tuples: whether the model's layers return tuples.
    last_logits: after the last position (V,). routing: of each layer, where experts take turns.
    """

    ids: tuple[int, ...]
    prompt_length: int
    buffers: dict[Site, Tensor]
    final: Float[Tensor, "T d"]
    first: Int[Tensor, "L T"]
    last: Int[Tensor, "L T"]
    facts: tuple[AttentionFacts | None, ...]
    last_logits: Float[Tensor, " V"]
    layers_are_tuples: bool = False
    forced_length: int = 0
    cancelled: bool = False
    notes: tuple[str, ...] = ()
    step_logits: tuple[Tensor, ...] = field(default=())
    routing: tuple[Routing, ...] = ()

    @property
    def length(self) -> int:
        """T, positions."""
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        tensors = (*self.buffers.values(), self.final, self.first, self.last, self.last_logits)
        biases = (facts.key_bias for facts in self.facts if facts is not None)
        experts = (part for layer in self.routing for _, part in layer.tensors())
        return sum(t.nbytes for t in (*tensors, *(b for b in biases if b is not None), *experts))

    def site(self, site: Site, layer: int) -> Tensor:
        """One layer of a site: (T, width), or (heads, T, width).

        Raises:
            TraceError: the run did not keep that site.
        """
        if site is Site.RESID_POST and site not in self.buffers:
            n_layers = self.first.shape[0]
            return self.final if layer == n_layers - 1 else self.site(Site.RESID_PRE, layer + 1)
        if site not in self.buffers:
            kept = ", ".join(self.buffers) or "nothing but the final stream"
            raise TraceError(
                expected("site", f"one that this trace kept ({kept})", str(site), "Run again with it in `sites`")
            )
        return self.buffers[site][layer].to(self.final.device)

    def routed(self, layer: int) -> Routing:
        """What went into the experts of a layer.

        Raises:
            TraceError: the run did not keep it.
        """
        if not self.routing:
            raise TraceError(expected("experts", "a trace that kept site act", "one without", "Run it again with all"))
        return self.routing[layer]

    def expert(self, layer: int, expert: int, part: ExpertRun, start: int = 0) -> ExpertRun:
        """An expert as this run had it, from what its neurons come to by what they read. start: of its positions."""
        return part

    def pattern(
        self, layer: int, heads: slice = slice(None), queries: slice | Tensor = slice(None)
    ) -> Float[Tensor, "H Tq T"]:
        """Attention of query heads of a layer, from the captured q and k, float32; no other rows are computed.

        Raises:
            TraceError: this layer's attention was never captured.
            MemoryShortError: the pattern would be too large.
        """
        q, k, facts = self.site(Site.Q, layer), self.site(Site.K, layer), self.facts[layer]
        if facts is None:
            raise TraceError(f"attention of layer {layer}: expected to capture it; it was never called as declared")
        # scores, the same in float32, what is hidden, and the pattern
        taken = 16 * q[heads][:, queries].shape[:2].numel() * self.length
        require_free(taken, q.device, "attention", "Look at one head, or trace a shorter text")
        keys = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
        bias, sinks, cut = facts.key_bias, facts.sinks, self.cut(layer, heads)
        return pattern(
            q[heads][:, queries],
            keys[heads],
            self.first[layer][queries],
            self.last[layer][queries],
            facts.scaling,
            facts.soft_cap,
            key_bias=None if bias is None else bias[heads, : self.length],
            sinks=None if sinks is None else sinks[heads],
            in_float32=facts.in_float32,
            cut=None if cut is None else cut[:, queries],
        )

    def cut(self, layer: int, heads: slice) -> Bool[Tensor, "H T T"] | None:
        """Attention edges that an edit took away, or None."""
        return None


class CaptureSink:
    """Buffers of a run under way. `start` and `stop` are the positions of the current call, if `active`.

    every_resid_post: also keep `resid_post` of all layers by its own hook (the self-check compares it). edits: what is
    changed on the way. base: the run whose layers before `first_layer` and positions before `first_position` hold here
    too: they are not run, and have no room here.
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
        self.edits, self.base = edits, base
        self.first_layer, self.first_position = first_layer, first_position
        self.layers_are_tuples = False
        self.start = self.stop = first_position
        self.active = False
        self.cancelled = False
        # an exception among accelerate's own hooks would leave weights where they were fetched to
        self.offloaded = model.offloaded
        self.wanted: set[Site] = {kept for site in (Site if sites is None else sites) for kept in site.captured}
        if Site.RESID_POST in self.wanted:
            self.wanted.add(Site.RESID_PRE)
        if not every_resid_post:
            self.wanted.discard(Site.RESID_POST)
        if model.blueprint.parallel:
            self.wanted.discard(Site.RESID_MID)
        size, n_layers = model.dimensions, model.dimensions.n_layers
        self.length, n, n_kept = length, length - first_position, n_layers - first_layer
        self.routing: list[Routing] = []
        if model.blueprint.architecture.w_out is None:
            if Site.ACT in self.wanted and model.blueprint.architecture.experts is not None:
                self.routing = [Routing() for _ in range(n_layers)]
            self.wanted.discard(Site.ACT)
        shapes = {
            Site.Q: (size.n_heads, n, size.d_head),
            Site.K: (size.n_kv_heads, n, size.d_head),
            Site.V: (size.n_kv_heads, n, size.d_value),
            Site.Z: (n, size.n_heads * size.d_value),
            Site.ACT: (n, size.d_mlp),
        }
        dtype, device = model.dtype, model.device
        kept = {site: (n_kept, *shapes.get(site, (n, size.d_model))) for site in Site if site in self.wanted}
        self.shelf = Shelf(sum(map(math.prod, kept.values())) * dtype.itemsize, device)
        self.buffers = {site: self.shelf.empty(shape, dtype) for site, shape in kept.items()}
        self.final = torch.empty((length, size.d_model), dtype=dtype, device=device)
        self.first = torch.zeros((n_layers, length), dtype=torch.int32, device=model.device)
        self.last = torch.zeros_like(self.first)
        self.facts: list[AttentionFacts | None] = [None] * n_layers
        self._n_heads = size.n_heads
        self._mask: tuple[Tensor | None, Tensor, Tensor] | None = None

    def attention(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        facts: AttentionFacts,
        n_key: int | None = None,
    ) -> None:
        """Keep q, and the new rows of k and v, of one call; shapes (1, heads, positions, width).

        n_key: the keys that the mask is about, where `key` holds only the new ones.
        """
        new = query.shape[2]
        for site, x in ((Site.Q, query), (Site.K, key), (Site.V, value)):
            if site in self.wanted:
                self.buffers[site][layer - self.first_layer, :, self.rows] = x[0, :, -new:]
        if Site.Q in self.wanted:
            first, last = self._visible(mask, new, n_key or key.shape[2])
            self.first[layer, self.start : self.stop] = first
            self.last[layer, self.start : self.stop] = last
            self.facts[layer] = facts.on(self.first.device)

    def masked(
        self, layer: int, mask: Tensor | None, query: Tensor, n_key: int, seen: Tensor | None = None
    ) -> Tensor | None:
        """The mask that a call's attention gets: with the edges hidden that an edit cuts.

        query: (1, any, q, width), for its length, dtype and device. seen: (1, 1, q, k), where the mask does not say
        all that is hidden.
        """
        if self.edits is None:
            return mask
        return self.edits.masked(layer, mask, seen, query, self.stop, n_key)

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
            self._mask = (mask, *visible_keys(mask, n_query, n_key, self.stop - n_key, self.first.device))
        return self._mask[1], self._mask[2]

    @contextmanager
    def call(self, n: int) -> Iterator[None]:
        """Within this context the model runs the next n positions; if it fails, they were not run."""
        before = self.stop
        self.start, self.stop = before, before + n
        self._mask, self.active = None, True
        try:
            yield
        except BaseException:
            self.stop = before
            raise
        finally:
            self.active = False

    def finish(self, length: int) -> tuple[dict[Site, Tensor], Tensor, Tensor, Tensor]:
        """Buffers, final stream, first and last keys, cut to the positions that were run, as `routing` is."""

        def cut(x: Tensor, dim: int, n: int = length) -> Tensor:
            part = x.narrow(dim, 0, n)
            return part if n > 0.8 * x.shape[dim] or self.shelf.in_file else part.clone()

        self.routing = [Routing(**{name: cut(x, 0) for name, x in r.tensors()}) for r in self.routing]
        n = length - self.first_position
        buffers = {s: cut(b, 2 if s in (Site.Q, Site.K, Site.V) else 1, n) for s, b in self.buffers.items()}
        if Site.Z in buffers:
            z = buffers[Site.Z]
            buffers[Site.Z] = z.unflatten(2, (self._n_heads, -1)).transpose(1, 2)
        return buffers, cut(self.final, 0), cut(self.first, 1), cut(self.last, 1)


def visible_keys(
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
