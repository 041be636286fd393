"""Whether interventions change anything at all; if not, the run takes the baseline's own path (docs/methods.md §8)."""

from __future__ import annotations

import torch

from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.expert_edits import moves_something
from intravisto_core.tracing.site_edits import Frozen, KnockedOut, SiteEdit, select_between
from intravisto_core.tracing.trace_data import TraceData


def is_no_op(edits: Edits, base: TraceData) -> bool:
    """Each edit leaves the baseline's own values as they are, bit by bit; so none has anything to pass on."""
    said = list(edits.notes)
    try:
        kept = all(_keeps(e, base) for e in edits.sites) and not any(_cuts(k, base) for k in edits.knocked)
        kept = kept and all(_keeps_pattern(f, base) for f in edits.frozen if f.is_patch)
        return kept and not moves_something(edits.experts, base)
    finally:
        edits.notes[:] = said


def _keeps(edit: SiteEdit, base: TraceData) -> bool:
    places = select_between(edit.places, 0, base.length)
    if not places:
        return True
    x = base.site(edit.site, edit.layer)
    rows = (x.transpose(0, 1).flatten(1) if edit.site.per_head else x)[places]
    old = rows if edit.columns is None else rows[:, edit.columns]
    return torch.equal(edit.change(old, places).to(old.dtype).expand_as(old), old)


def _keeps_pattern(edit: Frozen, base: TraceData) -> bool:
    queries = torch.tensor(edit.queries, device=base.final.device)
    own, other = base.pattern(edit.layer, slice(None), queries), edit.read(slice(None), queries)
    return torch.equal(own[edit.heads], other[edit.heads])


def _cuts(edit: KnockedOut, base: TraceData) -> bool:
    """Whether one of the edges is seen at all."""
    first, last = base.first[edit.layer].tolist(), base.last[edit.layer].tolist()
    return any(
        select_between(edit.keys, first[query], last[query] + 1)
        for query in select_between(edit.queries, 0, base.length)
        if bool(edit.heads.any())
    )
