"""A run in which only some heads and MLPs are its own; the others are a counterfactual run's (docs/methods.md §9)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.site_edits import Change, SiteEdit


def keep_parts(model: LoadedModel, corrupt: TraceData, first: int, kept: Bool[np.ndarray, " N"]) -> Edits:
    """What puts the counterfactual run's values in place of all heads and MLPs but those kept.

    corrupt: that run, as long as the prompt's. first: the first position where the two read other tokens. kept: the
    heads of each layer, then its MLP, layer by layer.
    """
    size, sites = model.dimensions, []
    places = tuple(range(first, corrupt.length))
    for layer, own in enumerate(kept.reshape(size.n_layers, size.n_heads + 1)):
        heads = torch.from_numpy(~own[:-1])
        if bool(heads.any()):
            z = corrupt.site(Site.Z, layer).transpose(0, 1).flatten(1)
            sites.append(SiteEdit(Site.Z, layer, places, _put(z, heads.repeat_interleave(size.d_value))))
        if not own[-1]:
            sites.append(SiteEdit(Site.MLP_OUT, layer, places, _put(corrupt.site(Site.MLP_OUT, layer), None)))
    return Edits(tuple(sites))


def _put(values: Tensor, columns: Bool[Tensor, " width"] | None) -> Change:
    def change(old: Tensor, places: list[int]) -> Tensor:
        new = values[places].to(old.device)
        return new if columns is None else torch.where(columns.to(old.device), new, old)

    return change
