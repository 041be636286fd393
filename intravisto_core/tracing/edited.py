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

    def cut(self, layer: int, heads: slice, queries: slice | Tensor) -> Bool[Tensor, "H Tq T"] | None:
        """Attention edges that an edit took away, or None."""
        places = torch.arange(self.length)[queries.cpu() if isinstance(queries, Tensor) else queries]
        if self.edits is None or not len(places):
            return None
        start, stop = int(places.min()), int(places.max()) + 1
        cut = self.edits.cut(layer, start, stop - start, 0, self.length, self.final.device)
        return None if cut is None else cut[0][heads][:, (places - start).to(cut.device)]

    def expert(self, layer: int, expert: int, part: ExpertRun, start: int = 0) -> ExpertRun:
        """An expert with its neurons as the edits made them."""
        return part if self.edits is None else add_expert_edits(self.edits.experts, layer, expert, part, start)

    def pattern(
        self, layer: int, heads: slice = slice(None), queries: slice | Tensor = slice(None), keys: slice = slice(None)
    ) -> Float[Tensor, "H Tq Tk"]:
        """Attention of query heads of a layer as the run had it: cut rows renormalised, frozen rows the baseline's."""
        here = [f for f in self.edits.frozen if f.layer == layer] if self.edits is not None else []
        if not here:
            return TraceData.pattern(self, layer, heads, queries, keys)
        found = TraceData.pattern(self, layer, heads, queries)
        places = torch.arange(self.length)[queries.cpu() if isinstance(queries, Tensor) else queries]
        for frozen in here:
            n = min(frozen.base.length, self.length)
            chosen = (places < n) & frozen.select(0, self.length, places.device)[places]
            rows = torch.nonzero(chosen)[:, 0].to(found.device)
            kept = frozen.read(heads, places[chosen].to(found.device))
            for head in torch.nonzero(frozen.heads[heads])[:, 0].tolist():
                found[head, rows] = 0.0
                found[head, rows, :n] = kept[head, :, :n]
        return found[..., keys]


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
