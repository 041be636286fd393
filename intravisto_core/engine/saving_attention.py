"""What a file keeps of attention: enough for its page without the model, within a size."""

from __future__ import annotations

from functools import partial
from typing import Any

from intravisto_core.records import ModelCard
from intravisto_core.request import (
    AttentionView,
    HeadPatternsView,
    HeadTargetsView,
    HeadTypesRequest,
    SinksView,
    SparseAttentionView,
    View,
)
from intravisto_core.sites import Capability, SinkHandling

LARGEST_CUBE = 16_000_000  # bytes of all weights of all heads, which then are kept whole
LARGEST_ROWS = 64_000_000  # bytes of their larger entries, about
LEAST = 0.01
# entries of a row by the least that they have: texts of a real model have .11 / least at 1 %
ENTRIES = 0.15
ENTRY_BYTES = 8
SCORED = 3_000_000_000  # parameters of the largest model whose heads are scored for a file


def list_attention_views(trace: str, length: int, card: ModelCard) -> tuple[View[Any], ...]:
    """The views that "attention" stands for: the whole cube of a short text, else the larger entries of every head.

    Of both sinks, targets and pictures of heads, and what heads do on random tokens.
    """
    n_heads = card.n_layers * card.n_heads
    found: list[View[Any]] = [SinksView(trace), HeadTargetsView(trace)]
    found += [HeadPatternsView(trace, sinks=handling) for handling in (SinkHandling.SHOW, SinkHandling.HIDE)]
    if card.n_parameters <= SCORED and card.capabilities[Capability.PATTERN].ok:
        found.append(HeadTypesRequest())
    if 4 * n_heads * length**2 <= LARGEST_CUBE:
        return (*found, AttentionView(trace))
    least = choose_least(n_heads, length)
    rows = partial(SparseAttentionView, trace, least=least, mark_sinks=True)
    found += [rows("mean", sinks=handling) for handling in SinkHandling]
    for layer in range(card.n_layers):
        found += [rows(layer, head=head) for head in ("mean", *range(card.n_heads))]
    return tuple(found)


def choose_least(n_heads: int, length: int) -> float:
    """The least share of an entry with which all heads take about 64 MB: 1 %, or what long texts of many heads need."""
    return max(LEAST, round(ENTRIES * ENTRY_BYTES * n_heads * length / LARGEST_ROWS, 3))
