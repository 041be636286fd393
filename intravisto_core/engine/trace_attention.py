"""What a trace tells about attention: one method a view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from intravisto_core.records import (
    Attention,
    AttentionCut,
    AttentionScore,
    HeadPatterns,
    HeadTargets,
    SparseAttention,
)
from intravisto_core.request import (
    AttentionCutView,
    AttentionScoreView,
    AttentionView,
    HeadPatternsView,
    HeadTargetsView,
    Span,
    SparseAttentionView,
    View,
)
from intravisto_core.sites import AttentionDivision, ScoreEnd, SinkHandling

R = TypeVar("R")
Places = Span | Sequence[int] | None
Heads = int | Sequence[int] | str | None


class TraceAttention(ABC):
    """The views of attention as methods of a trace."""

    @abstractmethod
    def _ask(self, kind: Callable[..., View[R]], **options: Any) -> R:
        """The record of a view of that kind on this trace."""

    def attention(
        self,
        layer: int | None = None,
        head: Heads = None,
        queries: Places = None,
        keys: Places = None,
        strength: AttentionDivision | str = AttentionDivision.WEIGHTS,
        sinks: SinkHandling | str = SinkHandling.SHOW,
        **options: Any,
    ) -> Attention:
        """Attention of any heads, queries and keys, (head, query, key); see `AttentionView`.

        Raises:
            RequestError: the slice takes more than 64 MB; the message says which one does not.
        """
        options |= {"layer": layer, "head": head, "queries": queries, "keys": keys}
        return self._ask(AttentionView, strength=strength, sinks=sinks, **options)

    def sparse_attention(
        self, layer: int | str, head: Heads = "mean", least: float = 0.01, **options: Any
    ) -> SparseAttention:
        """All rows of one head, or of a mean, by their larger keys; see `SparseAttentionView`."""
        return self._ask(SparseAttentionView, layer=layer, head=head, least=least, **options)

    def head_targets(self, **options: Any) -> HeadTargets:
        """What every head looks at on this text, by kinds of keys (docs/methods.md §7)."""
        return self._ask(HeadTargetsView, **options)

    def head_patterns(self, size: int = 24, **options: Any) -> HeadPatterns:
        """A small picture of every head's attention; see `HeadPatternsView`."""
        return self._ask(HeadPatternsView, size=size, **options)

    def score(
        self, layer: int, head: int, query: int, key: int, against: int | str | None = "mean", **options: Any
    ) -> AttentionScore:
        """Why a head looks there: its score by parts of the stream at both ends; see `AttentionScoreView`."""
        options |= {"query": query, "key": key, "against": against}
        return self._ask(AttentionScoreView, layer=layer, head=head, **options)

    def cut(
        self,
        layer: int,
        head: int,
        query: int,
        key: int,
        part: str,
        end: ScoreEnd | str = ScoreEnd.KEY,
        **options: Any,
    ) -> AttentionCut:
        """The weight of a key without one part of the stream, predicted and measured; see `AttentionCutView`."""
        options |= {"query": query, "key": key, "part": part, "end": end}
        return self._ask(AttentionCutView, layer=layer, head=head, **options)
