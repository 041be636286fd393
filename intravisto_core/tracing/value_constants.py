"""What a value is where the stream is empty (docs/methods.md §6, contribution by source word)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel
from intravisto_core.progress import finish_turns
from intravisto_core.request import Generation
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.run import run
from intravisto_core.tracing.site_edits import SiteEdit


@torch.no_grad()
def compute_value_constants(model: LoadedModel, token: int) -> Float[Tensor, "L Hkv d_v"]:
    """`W_V β_in + b_V` of every layer: what attention moves from any position, whatever is there.

    It is what the model's own code makes of a stream of zeros, whose norm is β, or 0 where it has no β. One run of one
    token, whose stream is set to zero before every block; it is right for every family, however W_V is stored. token:
    any id of the model.
    """

    def empty(x: Tensor, places: list[int]) -> Tensor:
        return torch.zeros_like(x)

    edits = Edits(tuple(SiteEdit(Site.RESID_PRE, layer, (0,), empty) for layer in range(model.dimensions.n_layers)))
    data = finish_turns(run(model, Prepared((token,), (), 0), Generation(), (Site.V,), edits=edits))
    return torch.stack([data.site(Site.V, layer)[:, 0].float() for layer in range(model.dimensions.n_layers)])
