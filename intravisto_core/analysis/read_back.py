"""What a vector at a place of the stream reads as (docs/methods.md §3): the place's lens, row and norm policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.lenses import compute_logits
from intravisto_core.lenses import Projection, normalise, table_lens
from intravisto_core.models import LoadedModel
from intravisto_core.request.views import default_norm
from intravisto_core.sites import Component, Lens, NormPolicy, Reading, Site

_TILE = 64


@dataclass(frozen=True, slots=True)
class PlaceReading:
    """How vectors of a place are read. row: a heatmap row, 0 to L."""

    lens: Lens
    row: int
    policy: NormPolicy

    @classmethod
    def at(cls, site: Site, row: int, lens: Lens, policy: NormPolicy | None = None) -> PlaceReading:
        """The reading of a site; without a policy by the default of docs/methods.md §3."""
        component = Component.ATTENTION if site.is_update else Component.BLOCK
        return cls(lens, row, policy or default_norm(component, lens, Reading.TOP))

    @property
    def is_update(self) -> bool:
        """Whether logits are changes of logit. The stream's σ scales all of them alike, so 1 serves for it."""
        return self.policy is NormPolicy.STREAM

    def mix(self, n_layers: int) -> float:
        """The share a of the output table."""
        return float(table_lens(self.lens).mix(torch.tensor([self.row]), n_layers)[0])

    def project(self, model: LoadedModel, x: Float[Tensor, "n d"]) -> Projection:
        """The vectors, ready for the tables."""
        if self.is_update:
            x_hat = model.norm.linear(x, torch.ones((), dtype=torch.float32, device=x.device))
        else:
            as_it_is = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
            x_hat = normalise(model, x, x, self.policy, as_it_is)
        mix = torch.full((x.shape[0],), self.mix(model.dimensions.n_layers), dtype=torch.float32, device=x.device)
        return Projection(x_hat, mix, bias=not self.is_update, capped=not self.is_update)

    def logits(self, model: LoadedModel, x: Float[Tensor, "n d"]) -> Float[Tensor, "n V"]:
        """What the vectors read as."""
        return compute_logits(model, self.project(model, x))

    @torch.no_grad()
    def top_tokens(self, model: LoadedModel, x: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The top token of each vector."""
        return torch.cat([self.logits(model, part).argmax(-1) for part in x.split(_TILE)])
