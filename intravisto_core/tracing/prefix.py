"""What two prompts begin with is computed once: the second run goes on where the first one's calls were the same.

A run alone reads a long prompt in calls of a fixed size. Where another run's first calls read the same tokens, all that
they gave is known, bit for bit, and so is the cache after them (docs/methods.md §11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.capture import BY_HEAD, CaptureSink, wanted_sites
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.reuse import find_moving_rope, find_obstacle
from intravisto_core.tracing.run_calls import call_size
from intravisto_core.tracing.trace_data import TraceData


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first positions of a run, as another one has them."""

    base: TraceData
    n: int


def find_prefix(
    model: LoadedModel, prepared: Prepared, sites: tuple[Site, ...] | None, others: Iterable[TraceData]
) -> Prefix | None:
    """The longest known beginning of a prompt, or None. others: unedited runs whose activations are there."""
    size = call_size(model, len(prepared.prompt) + len(prepared.forced))
    best: Prefix | None = None
    for base in others if len(prepared.prompt) > size else ():
        n = _count_shared(prepared.prompt[:-1], base.ids[: base.prompt_length], size)
        if n > (best.n if best else 0) and _serves(model, prepared, sites, base, size):
            best = Prefix(base, n)
    return best


def take_prefix(sink: CaptureSink, prefix: Prefix) -> None:
    """Fill a sink with what is known, as if the calls had been made."""
    base, n = prefix.base, prefix.n
    for site, buffer in sink.buffers.items():
        for layer in range(len(buffer)):
            stored = base.site(site, layer)
            if site is Site.Z:
                stored = stored.transpose(0, 1).flatten(1)
            dim = 1 if site in BY_HEAD else 0
            buffer[layer].narrow(dim, 0, n).copy_(stored.narrow(dim, 0, n))
    sink.final[:n] = base.final[:n]
    sink.first[:, :n], sink.last[:, :n] = base.first[:, :n], base.last[:, :n]
    for layer, kept in enumerate(sink.routing):
        for name, x in base.routing[layer].tensors():
            setattr(kept, name, x.new_empty((sink.length, x.shape[-1])))
            getattr(kept, name)[:n] = x[:n]
    sink.start = sink.stop = n


def _count_shared(one: tuple[int, ...], other: tuple[int, ...], size: int) -> int:
    """How many ids two texts begin with alike, in whole calls of that size."""
    n = 0
    while n + size <= min(len(one), len(other)) and one[n : n + size] == other[n : n + size]:
        n += size
    return n


def _serves(model: LoadedModel, prepared: Prepared, sites: tuple[Site, ...] | None, base: TraceData, size: int) -> bool:
    """Whether the other run's first calls are those of this one, and left all that is needed."""
    if base.prompt_length <= size or call_size(model, base.prompt_length + base.forced_length) != size:
        return False
    if find_obstacle(model, base) or find_moving_rope(model.network.config, len(prepared.prompt) + prepared.n_new):
        return False
    kept = wanted_sites(model, sites, every_resid_post=False)
    if model.blueprint.architecture.w_out is None and Site.ACT in kept:
        kept.discard(Site.ACT)
        if model.blueprint.architecture.experts is not None and not base.routing:
            return False
    return kept <= base.buffers.keys()
