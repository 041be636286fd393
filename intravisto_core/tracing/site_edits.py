"""What one intervention does at its place: values changed at a site, attention cut, a pattern frozen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intravisto_core.sites import Site
from intravisto_core.tracing.functions import FunctionCall
from intravisto_core.tracing.trace_data import TraceData

Change = Callable[[Tensor, list[int]], Tensor]


@dataclass(frozen=True, slots=True)
class SiteEdit:
    """One intervention at a site of a layer. change: old values (n, width) at n positions → new ones, any dtype.

    places: absolute positions, sorted. columns: those that it is about, None for all. call: the function that stands in
    place of `change`. n_heads: where a function is given the values by head.
    """

    site: Site
    layer: int
    places: tuple[int, ...]
    change: Change
    columns: slice | None = None
    call: FunctionCall | None = None
    n_heads: int | None = None


@dataclass(frozen=True, slots=True)
class KnockedOut:
    """Attention edges of a layer that are cut. heads: (H,) true where it is; positions are absolute and sorted."""

    layer: int
    heads: Bool[Tensor, " H"]
    queries: tuple[int, ...]
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frozen:
    """Heads of a layer whose pattern is the one that another run had.

    queries: the rows that it is about, sorted, of a pattern that is patched from another text; None is all of the
    baseline's. source_layer: where the other run had it; None is the same layer.
    """

    layer: int
    heads: Bool[Tensor, " H"]
    base: TraceData
    queries: tuple[int, ...] | None = None
    source_layer: int | None = None

    @property
    def is_patch(self) -> bool:
        """Whether the pattern is another text's, and changes something by itself."""
        return self.queries is not None

    def read(self, heads: slice, queries: slice | Tensor) -> Float[Tensor, "H Tq T"]:
        """The other run's pattern."""
        return self.base.pattern(self.layer if self.source_layer is None else self.source_layer, heads, queries)

    def select(self, start: int, stop: int, device: torch.device) -> Bool[Tensor, " n"]:
        """(stop − start,) true for the queries that it is about."""
        if self.queries is None:
            return torch.ones(stop - start, dtype=torch.bool, device=device)
        found = torch.zeros(stop - start, dtype=torch.bool, device=device)
        found[[p - start for p in select_between(self.queries, start, stop)]] = True
        return found


def select_between(places: Sequence[int], start: int, stop: int) -> list[int]:
    """The places from start up to, not with, stop."""
    return list(places[bisect_left(places, start) : bisect_left(places, stop)])


def flag_heads(heads: Iterable[int] | None, n_heads: int) -> Bool[Tensor, " H"]:
    """(H,) true for the heads named; None is all."""
    flag = torch.full((n_heads,), heads is None)
    if heads is not None:
        flag[list(heads)] = True
    return flag
