"""Where parts join the stream (docs/methods.md §5)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData

SHARE_NAMES = ("residual_attention", "attention", "residual_mlp", "mlp")


@dataclass(frozen=True, slots=True)
class Junction:
    """Parts that add up, (T, d) each in float32, and the name of the share of each."""

    parts: tuple[Tensor, ...]
    names: tuple[str, ...]


def junctions(model: LoadedModel, data: TraceData, layer: int) -> list[Junction]:
    """The junctions of a block: two of two parts, or one of three in a parallel block."""
    pre, attention, mlp = (data.site(s, layer).float() for s in (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT))
    if model.blueprint.parallel:
        return [Junction((pre, attention, mlp), ("residual_attention", "attention", "mlp"))]
    mid = data.site(Site.RESID_MID, layer).float()
    return [
        Junction((pre, attention), ("residual_attention", "attention")),
        Junction((mid, mlp), ("residual_mlp", "mlp")),
    ]
