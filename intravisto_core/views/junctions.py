"""Where parts join the stream (docs/methods.md §5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData
from intravisto_core.views.context import ViewContext

SHARE_NAMES = ("residual_attention", "attention", "residual_mlp", "mlp")
EDIT_NAMES = ("intervention_attention", "intervention_mlp")

Edited = frozenset[tuple[Site, int]]


@dataclass(frozen=True, slots=True)
class Junction:
    """Parts that add up, (T, d) each in float32, and the name of the share of each."""

    parts: tuple[Tensor, ...]
    names: tuple[str, ...]

    def with_edit(self, whole: Float[Tensor, "T d"], name: str) -> Junction:
        """With what an edit put there as one more part: the rest of the sum, where it is more than rounding."""
        rest = whole - sum(self.parts, torch.zeros_like(whole))
        rounding = rest.norm(dim=-1) <= 1e-4 * whole.norm(dim=-1)
        return Junction((*self.parts, rest.masked_fill(rounding[:, None], 0)), (*self.names, name))


def rebuild_streams(context: ViewContext) -> Edited:
    """Sites and layers of the trace whose stream an edit changed where parts had joined it.

    A function at a module may have done so anywhere, and so may a hook: then all of them.
    """
    n_layers, found = context.model.dimensions.n_layers, set()
    edits = context.entry.request.interventions
    if any(edit.site is None for edit in edits) or (context.entry.only_once and not edits):
        return frozenset((site, layer) for site in (Site.RESID_MID, Site.RESID_POST) for layer in range(n_layers))
    for edit in edits:
        if edit.layer is None:
            continue
        if edit.site is Site.RESID_MID or edit.site is Site.RESID_POST:
            found.add((edit.site, edit.layer % n_layers))
        elif edit.site is Site.RESID_PRE and edit.layer % n_layers:
            found.add((Site.RESID_POST, edit.layer % n_layers - 1))
    return frozenset(found)


def collect_junctions(model: LoadedModel, data: TraceData, layer: int, edited: Edited = frozenset()) -> list[Junction]:
    """The junctions of a block: two of two parts, or one of three in a parallel block; one more where it was edited."""
    pre, attention, mlp = (data.site(s, layer).float() for s in (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT))
    if model.blueprint.parallel:
        last = Junction((pre, attention, mlp), ("residual_attention", "attention", "mlp"))
        first = []
    else:
        mid = data.site(Site.RESID_MID, layer).float()
        joined = Junction((pre, attention), ("residual_attention", "attention"))
        first = [joined.with_edit(mid, EDIT_NAMES[0]) if (Site.RESID_MID, layer) in edited else joined]
        last = Junction((mid, mlp), ("residual_mlp", "mlp"))
    if (Site.RESID_POST, layer) in edited:
        last = last.with_edit(data.site(Site.RESID_POST, layer).float(), EDIT_NAMES[1])
    return [*first, last]
