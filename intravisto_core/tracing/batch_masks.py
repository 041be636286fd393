"""Which keys the queries of a padded batch see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from intravisto_core.errors import TraceError


def find_visible_keys_of_rows(
    mask: Tensor | None,
    n_query: int,
    n_key: int,
    starts: Sequence[int],
    counts: Sequence[int],
    device: torch.device,
) -> tuple[Int[Tensor, "rows q"], Int[Tensor, "rows q"]]:
    """First and last visible key of each query, as positions of the row's own text.

    mask: additive or boolean, (rows or 1, 1, q, k). starts: of each row, the position of its first query. counts: how
    many of its queries are no padding.

    Raises:
        TraceError: what a query sees is not one stretch, or differs by head.
    """
    offset = (torch.tensor(starts, device=device) + n_query - n_key)[:, None]
    if mask is None:
        first = offset.expand(-1, n_query)
        return first.int(), (first + n_key - 1).int()
    if mask.shape[1] != 1:
        raise TraceError("attention mask: expected one for all heads; this model's differs by head")
    seen = mask[:, 0] if mask.dtype == torch.bool else mask[:, 0] == 0
    seen = seen.expand(len(starts), -1, -1)
    first = seen.int().argmax(-1)
    last = seen.shape[2] - 1 - seen.flip(-1).int().argmax(-1)
    own = torch.arange(n_query, device=device)[None] < torch.tensor(counts, device=device)[:, None]
    if not torch.equal(seen.sum(-1)[own], (last - first + 1)[own]):
        raise TraceError("attention mask: expected each query to see one stretch of keys; this model's has gaps")
    return (first + offset).int(), (last + offset).int()
