"""The states of the stream at one layer: which there are, what the MLP reads, and where something joins them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.layer_readings import compute_base
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.views.context import ViewContext


def stack_states(context: ViewContext, layer: int, position: int) -> tuple[list[Site], Float[Tensor, "S d"]]:
    """The stream before the block, after attention where that is a state, and after the block; float32."""
    sites = [Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST]
    if context.model.blueprint.parallel:
        sites.remove(Site.RESID_MID)
    return sites, torch.stack([context.data.site(site, layer)[position].float() for site in sites])


def find_joined(names: Sequence[Site], site: Site) -> int:
    """Which state a vector at a site is a part of: the stream itself, or the first state after it joined."""
    if site in names:
        return names.index(site)
    return names.index(Site.RESID_MID) if site is Site.ATTN_OUT and Site.RESID_MID in names else len(names) - 1


def read_site(model: LoadedModel) -> Site:
    """The stream that an MLP reads."""
    return Site.RESID_PRE if model.blueprint.parallel else Site.RESID_MID


def read_base(context: ViewContext) -> Tensor | float:
    """What the output lens says of a stream of zeros, computed once a model."""
    key = ("stream of zeros", str(context.model.device))
    found: Tensor | float | None = context.store.get(key)
    if found is None:
        found = compute_base(context.model)
        context.store.put(key, found, found.nbytes if isinstance(found, Tensor) else 8)
    return found
