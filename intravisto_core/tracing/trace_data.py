"""What one run captured: every site of every layer and position, and what patterns are recomputed from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intravisto_core.analysis.attention import compute_pattern
from intravisto_core.analysis.experts import ExpertRun, Routing
from intravisto_core.errors import TraceError, expected
from intravisto_core.models.free_memory import require_free
from intravisto_core.sites import Site
from intravisto_core.tracing.module_values import tensors_of


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
    last_logits: after the last position (V,). routing: of each layer, in a mixture of experts. modules: what was kept
    of other modules, by path (see `module_values`). only_once: why such a run cannot be made again, or "".
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
    modules: dict[str, Any] = field(default_factory=dict)
    only_once: str = ""

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
        others = (part for value in self.modules.values() for part in tensors_of(value))
        return sum(t.nbytes for t in (*tensors, *(b for b in biases if b is not None), *experts, *others))

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
        self, layer: int, heads: slice = slice(None), queries: slice | Tensor = slice(None), keys: slice = slice(None)
    ) -> Float[Tensor, "H Tq Tk"]:
        """Attention of query heads of a layer, from the captured q and k, float32; no other rows are computed.

        keys: a stretch that holds all keys that these queries see (`find_seen`); the others need not be looked at.

        Raises:
            TraceError: this layer's attention was never captured.
            MemoryShortError: the pattern would be too large.
        """
        q, k, facts = self.site(Site.Q, layer), self.site(Site.K, layer), self.facts[layer]
        if facts is None:
            raise TraceError(f"attention of layer {layer}: expected to capture it; it was never called as declared")
        # scores, the same in float32, what is hidden, and the pattern
        start, stop, _ = keys.indices(self.length)
        taken = 16 * q[heads][:, queries].shape[:2].numel() * (stop - start)
        require_free(taken, q.device, "attention", "Look at one head, or trace a shorter text")
        bias, sinks, cut = facts.key_bias, facts.sinks, self.cut(layer, heads, queries)
        return compute_pattern(
            q[heads][:, queries],
            _keys_of(k, q.shape[0], heads)[:, keys],
            self.first[layer][queries] - start,
            self.last[layer][queries] - start,
            facts.scaling,
            facts.soft_cap,
            key_bias=None if bias is None else bias[heads, start:stop],
            sinks=None if sinks is None else sinks[heads],
            in_float32=facts.in_float32,
            cut=None if cut is None else cut[..., keys],
        )

    def find_seen(self, layer: int, queries: Tensor) -> slice:
        """The stretch of keys that some of these queries see, one key at least."""
        first, last = self.first[layer][queries], self.last[layer][queries]
        return slice(int(first.min()), max(int(last.max()), int(first.min())) + 1)

    def cut(self, layer: int, heads: slice, queries: slice | Tensor) -> Bool[Tensor, "H Tq T"] | None:
        """Attention edges that an edit took away, or None."""
        return None


def _keys_of(k: Float[Tensor, "Hkv T d_head"], n_heads: int, heads: slice) -> Float[Tensor, "G T d_head"]:
    """The keys that some query heads read, once for each whole group of heads, else once for each head."""
    group, (start, stop, _) = n_heads // k.shape[0], heads.indices(n_heads)
    if start % group == 0 and stop % group == 0:
        return k[start // group : stop // group]
    if stop - start == 1:
        return k[start // group][None]
    return k[torch.arange(start, stop, device=k.device) // group]
