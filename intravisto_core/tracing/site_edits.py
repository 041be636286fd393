"""What one intervention does at its place: values changed at a site, attention cut, a pattern frozen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from intravisto_core.sites import Site
from intravisto_core.tracing.trace_data import TraceData

Change = Callable[[Tensor, list[int]], Tensor]


@dataclass(frozen=True, slots=True)
class SiteEdit:
    """One intervention at a site of a layer. change: old values (n, width) at n positions → new ones, any dtype.

    places: absolute positions, sorted. columns: those that it is about, None for all.
    """

    site: Site
    layer: int
    places: tuple[int, ...]
    change: Change
    columns: slice | None = None


@dataclass(frozen=True, slots=True)
class KnockedOut:
    """Attention edges of a layer that are cut. heads: (H,) true where it is; positions are absolute and sorted."""

    layer: int
    heads: Bool[Tensor, " H"]
    queries: tuple[int, ...]
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frozen:
    """Heads of a layer whose pattern is the one that another run had."""

    layer: int
    heads: Bool[Tensor, " H"]
    base: TraceData


def select_between(places: Sequence[int], start: int, stop: int) -> list[int]:
    """The places from start up to, not with, stop."""
    return list(places[bisect_left(places, start) : bisect_left(places, stop)])


def flag_heads(heads: Iterable[int] | None, n_heads: int) -> Bool[Tensor, " H"]:
    """(H,) true for the heads named; None is all."""
    flag = torch.full((n_heads,), heads is None)
    if heads is not None:
        flag[list(heads)] = True
    return flag
