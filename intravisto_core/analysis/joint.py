"""The joint L1 form: every (head, source) and the residual as parts of one junction (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.division import SMALLEST, Moved


@dataclass(frozen=True, slots=True)
class Joint:
    """Shares in [0, 1] of what joins the stream with attention, NaN where undefined; all of a query sum to 1.

    parts: (Tq, T) of sources, summed over heads, or (H, Tq, T). residual, bias, edit: (Tq,). mlp: (Tq,), 0 in a serial
    block. edit: what edits wrote in the attention's place.
    """

    parts: Float[Tensor, "*H Tq T"]
    residual: Float[Tensor, " Tq"]
    bias: Float[Tensor, " Tq"]
    mlp: Float[Tensor, " Tq"]
    edit: Float[Tensor, " Tq"]


def compute_joint_shares(
    what: Moved,
    queries: Sequence[int],
    residual: Float[Tensor, "Tq d"],
    mlp: Float[Tensor, "Tq d"] | None,
    by_head: bool = False,
) -> Joint:
    """`max(‖w‖₁ − ‖w − p‖₁, 0)`, normalised over all parts p. mlp: also a part, in a parallel block.

    queries: the positions of the residual's rows; later sources are no parts of them.
    """
    nothing = torch.zeros_like(residual)
    fixed = [residual, what.bias, nothing if mlp is None else mlp, nothing if what.edit is None else what.edit]
    whole = residual + what.total + fixed[2]
    length = whole.abs().sum(-1)
    size = sum((p.abs().sum(-1) for p in fixed), torch.zeros_like(length))
    raw = [(length - (whole - p).abs().sum(-1)).clamp(min=0) for p in fixed]
    n_heads, n_queries, n_sources = what.weights.shape
    parts = torch.zeros((n_heads if by_head else 1, n_queries, n_sources), dtype=torch.float32, device=whole.device)
    for sources, values in what.values():
        lengths = values.abs().sum(-1)
        size = size + torch.einsum("hin,hn->i", what.weights[:, :, sources], lengths)
        for i, query in enumerate(queries):
            seen = min(sources.start + values.shape[1], query + 1) - sources.start
            if seen > 0:
                moved = what.weights[:, i, sources.start : sources.start + seen, None] * values[:, :seen]
                nearer = (length[i] - (moved - whole[i]).abs_().sum(-1)).clamp_(min=0)
                nearer = nearer if by_head else nearer.sum(0, keepdim=True)
                parts[:, i, sources.start : sources.start + seen] = nearer
    total = parts.sum((0, 2)) + torch.stack(raw).sum(0)
    total = total.masked_fill((total <= SMALLEST * (length + size)) | (total <= 0), torch.nan)
    shares = [r / total for r in raw]
    found = parts / total[:, None]
    return Joint(found if by_head else found[0], *shares)
