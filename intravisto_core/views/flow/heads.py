"""The heads of one attention node (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.division import divide_by_head
from intravisto_core.analysis.joint import Joint, compute_joint_shares
from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress
from intravisto_core.records import HeadShares
from intravisto_core.request import HeadSharesView
from intravisto_core.request.ranges import index
from intravisto_core.sites import AttentionDivision, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.shares import has_sinks, read_attention, require_division


def compute_head_shares(context: ViewContext, view: HeadSharesView) -> Generator[Progress, None, HeadShares]:
    """How one cell's attention divides over heads and sources.

    Raises:
        RequestError: no such row or position.
        ModelError: the model fails an identity that this rests on.
    """
    n_layers = context.model.dimensions.n_layers
    if not 1 <= view.row <= n_layers:
        raise RequestError(expected("row", f"1 to {n_layers}, the output of a block", view.row))
    layer, position = view.row - 1, index(view.position, context.entry.length, "position")
    query = torch.tensor([position])
    require_division(context, AttentionDivision.PROJECTION if view.joint else view.attention)
    if view.joint:
        found = compute_joint(context, layer, query, heads=True)
        parts, bias, edit = found.parts[:, 0], found.bias, found.edit
        sink, residual = np.zeros(len(parts), np.float32), float(found.residual)
        mlp = float(found.mlp) if context.model.blueprint.parallel else float("nan")
    else:
        pattern, what, edited = read_attention(context, layer, view.attention, query)
        division = divide_by_head(view.attention, pattern, what, has_sinks(context, layer), edited)
        parts, bias, edit = division.parts[:, 0], division.bias, division.edit
        sink, residual, mlp = division.sink[:, 0].float().cpu().numpy(), float("nan"), float("nan")
    yield Progress(1, 1)
    return HeadShares(
        model=context.model.name,
        trace=context.entry.id,
        n_layers=n_layers,
        row=view.row,
        position=position,
        tokens=context.entry.tokens,
        attention=None if view.joint else view.attention,
        shares=parts.float().cpu().numpy(),
        sink=sink,
        bias=float(bias),
        intervention=float(edit),
        residual=residual,
        mlp=mlp,
    )


def compute_joint(context: ViewContext, layer: int, queries: Tensor, heads: bool = False) -> Joint:
    """What joins the stream with the attention of some queries, in the joint L1 form."""
    _, what, _ = read_attention(context, layer, None, queries)
    assert what is not None
    residual, mlp = (context.data.site(s, layer)[queries].float() for s in (Site.RESID_PRE, Site.MLP_OUT))
    return compute_joint_shares(
        what, queries.tolist(), residual, mlp if context.model.blueprint.parallel else None, heads
    )
