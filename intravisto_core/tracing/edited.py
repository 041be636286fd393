"""The activations of an edited run: its own where they can have changed, the baseline's elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intravisto_core.analysis.experts import ExpertRun, Routing
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.expert_edits import add_expert_edits
from intravisto_core.tracing.trace_data import TraceData

_BY_HEAD = (Site.Q, Site.K, Site.V, Site.Z)


@dataclass(slots=True)
class EditedData(TraceData):
    """As `TraceData`; buffers start at `first_layer` and `first_position`, what lies before is `base`'s."""

    base: TraceData | None = None
    first_layer: int = 0
    first_position: int = 0
    edits: Edits | None = None

    def site(self, site: Site, layer: int) -> Tensor:
        """One layer of a site: (T, width), or (heads, T, width).

        Raises:
            TraceError: the run did not keep that site.
        """
        if self.base is None or site not in self.buffers:
            return TraceData.site(self, site, layer)
        if layer < self.first_layer:
            return self.base.site(site, layer)
        own, dim = self.buffers[site][layer - self.first_layer].to(self.final.device), int(site in _BY_HEAD)
        if not self.first_position:
            return own
        return torch.cat([self.base.site(site, layer).narrow(dim, 0, self.first_position), own], dim)

    def cut(self, layer: int, heads: slice) -> Bool[Tensor, "H T T"] | None:
        """Attention edges that an edit took away, or None."""
        n, device = self.length, self.final.device
        cut = None if self.edits is None else self.edits.cut(layer, 0, n, 0, n, device)
        return None if cut is None else cut[0][heads]

    def expert(self, layer: int, expert: int, part: ExpertRun, start: int = 0) -> ExpertRun:
        """An expert with its neurons as the edits made them."""
        return part if self.edits is None else add_expert_edits(self.edits.experts, layer, expert, part, start)

    def pattern(
        self, layer: int, heads: slice = slice(None), queries: slice | Tensor = slice(None)
    ) -> Float[Tensor, "H Tq T"]:
        """Attention of query heads of a layer as the run had it: cut rows renormalised, frozen rows the baseline's."""
        here = [f for f in self.edits.frozen if f.layer == layer] if self.edits is not None else []
        if not here:
            return TraceData.pattern(self, layer, heads, queries)
        found = TraceData.pattern(self, layer, heads)
        for frozen in here:
            kept = frozen.base.pattern(layer, heads)
            n, chosen = min(kept.shape[1], found.shape[1]), frozen.heads[heads]
            found[chosen, :n] = 0.0
            found[chosen, :n, :n] = kept[chosen, :n, :n]
        return found[:, queries]


def lay_over(base: TraceData, own: EditedData) -> EditedData:
    """Complete what a run that started at `first_layer` and `first_position` did not compute itself."""
    layer, position = own.first_layer, own.first_position
    own.base = base
    own.final[:position] = base.final[:position]
    for name in ("first", "last"):
        whole, before = getattr(own, name), getattr(base, name)
        whole[:, :position] = before[:, :position]
        whole[:layer] = before[:layer, : whole.shape[1]]
    own.facts = tuple(f or b for f, b in zip(own.facts, base.facts, strict=True))
    if own.routing:
        before = base.routing
        own.routing = tuple(
            before[i] if i < layer else _joined(before[i], r, position) for i, r in enumerate(own.routing)
        )
    return own


def _joined(base: Routing, own: Routing, position: int) -> Routing:
    """What went into the experts of one layer: the baseline's rows, then the run's own."""
    parts = {f.name: (getattr(base, f.name), getattr(own, f.name)) for f in fields(own)}
    return Routing(
        **{name: None if b is None else torch.cat([a[:position], b[position:]]) for name, (a, b) in parts.items()}
    )


def trim_to_changes(base: TraceData, own: EditedData, layer: int, position: int) -> EditedData:
    """A full run, whose layers before `layer` and positions before `position` are the baseline's bit by bit."""
    if not layer and not position:
        return own
    for site, buffer in own.buffers.items():
        if own.ids == base.ids:
            buffer = buffer[layer:]
        dim = 2 if site in _BY_HEAD else 1
        own.buffers[site] = buffer.narrow(dim, position, buffer.shape[dim] - position).clone()
    own.first_layer, own.first_position = (layer if own.ids == base.ids else 0), position
    own.base = base
    return own
