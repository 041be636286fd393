"""What heads look at, by kinds of keys, as sums that are taken in a stretch of queries at a time (methods §7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from intravisto_core.sites import HeadTarget

NEAR = 8
SMALLEST = torch.finfo(torch.float32).tiny
LOWEST = 1e-4  # of what a small picture tells apart
Array = np.ndarray


def classify_keys(
    queries: Int[Tensor, " Tq"], ids: Int[Tensor, " T"], sinks: Bool[Tensor, " T"]
) -> Int[Tensor, "Tq T"]:
    """The place in `HeadTarget` of what each key is to each query; the first that fits counts."""
    keys = torch.arange(len(ids), device=ids.device)
    back = queries[:, None] - keys
    own = ids[queries][:, None]
    before = torch.cat([ids.new_full((1,), -1), ids[:-1]])
    fits = {
        HeadTarget.LAST_8: back <= NEAR,
        HeadTarget.PREVIOUS: back == 1,
        HeadTarget.SAME: (ids == own) & (back > 0),
        HeadTarget.AFTER_SAME: (before == own) & (back > 0),
        HeadTarget.ITSELF: back == 0,
        HeadTarget.SINK: sinks.expand_as(back),
    }
    order = list(HeadTarget)
    found = torch.full_like(back, order.index(HeadTarget.FARTHER))
    for target, where in fits.items():  # a later one goes before
        found[where] = order.index(target)
    return found


def tabulate_keys(queries: Int[Tensor, " Tq"], ids: Int[Tensor, " T"]) -> Float[Tensor, "Tq C1 T"]:
    """Of each query and key: 1 in the key's class, else 0, and last the distance; no key is a sink.

    It is the same for all layers and heads.
    """
    kinds = classify_keys(queries, ids, torch.zeros(len(ids), dtype=torch.bool, device=ids.device))
    table = torch.empty((len(queries), len(HeadTarget) + 1, len(ids)), device=ids.device)
    for number in range(len(HeadTarget)):
        table[:, number] = kinds == number
    table[:, -1] = queries[:, None] - torch.arange(len(ids), device=ids.device)
    return table


@dataclass(slots=True)
class TargetSums:
    """Sums over queries from 1 on of what each head of a layer gives to each kind of keys; float64.

    Which keys are sinks is known once all queries were looked at. keys: those that may be. by_key: what each of them
    adds to the classes, and last to the distance; the other sums are without them. So nothing is taken away again:
    where a sink has nearly all of a head, the difference would be rounding. distance: of p (i − j).
    """

    classes: Float[Tensor, "H C"]
    distance: Float[Tensor, " H"]
    entropy: Float[Tensor, " H"]
    learned: Float[Tensor, " H"]
    keys: Int[Tensor, " K"]
    by_key: Float[Tensor, "K H C1"]
    n_queries: int = 0

    @classmethod
    def nothing(cls, n_heads: int, keys: Int[Tensor, " K"]) -> TargetSums:
        """Before any query was looked at."""
        zeros = torch.zeros((n_heads, len(HeadTarget)), dtype=torch.float64)
        by_key = torch.zeros((len(keys), n_heads, len(HeadTarget) + 1), dtype=torch.float64)
        distance, entropy, learned = torch.zeros((3, n_heads), dtype=torch.float64)
        return cls(zeros, distance, entropy, learned, keys, by_key)

    def add(
        self,
        queries: Int[Tensor, " Tq"],
        pattern: Float[Tensor, "H Tq Tk"],
        start: int,
        table: Float[Tensor, "Tq C1 T"],
        has_learned: bool,
    ) -> None:
        """Take queries in. start: the position of the pattern's first key. table: of `tabulate_keys` for these queries.
        has_learned: whether what is missing from a row went to a learned sink.
        """
        later = queries >= 1
        if not bool(later.all()):
            queries, pattern, table = queries[later], pattern[:, later], table[later]
        self.n_queries += len(queries)
        self.entropy += _entropies(pattern).sum(1, dtype=torch.float64).cpu()
        if has_learned:
            left = (1 - pattern.sum(-1)).clamp(0, 1)
            self.learned += left.sum(1, dtype=torch.float64).cpu()
            self.entropy += torch.special.entr(left).sum(1, dtype=torch.float64).cpu()
        stop = start + pattern.shape[2]
        here = table[..., start:stop]
        seen = (self.keys >= start) & (self.keys < stop)
        if bool(seen.any()):
            at = (self.keys[seen] - start).to(pattern.device)
            own, kinds = (x[..., at].permute(2, 0, 1).contiguous() for x in (pattern, here))
            self.by_key[seen] += torch.bmm(own, kinds).double().cpu()
            pattern = pattern.index_fill(2, at, 0.0)
        # row by row first: float32 is enough for the keys of a query, and not for those of many
        sums = torch.bmm(pattern.transpose(0, 1), here.transpose(1, 2)).sum(0, dtype=torch.float64).cpu()
        self.classes += sums[:, :-1]
        self.distance += sums[:, -1]

    def forget_others(self, keys: Int[Tensor, " K2"]) -> None:
        """Tell only these keys apart from now on: the others turned out to be no sinks."""
        kept = torch.isin(self.keys, keys)
        rest = self.by_key[~kept].sum(0)
        self.classes += rest[:, :-1]
        self.distance += rest[:, -1]
        self.keys, self.by_key = self.keys[kept], self.by_key[kept]

    def finish(self, sinks: Bool[Tensor, " T"]) -> dict[str, Array]:
        """Means over the queries; NaN without any. sinks: among the keys that may be."""
        n = self.n_queries or torch.nan
        sunk = sinks[self.keys]
        rest, moved = (self.by_key[each].sum(0) for each in (~sunk, sunk))
        shares, sink = self.classes + rest[:, :-1], list(HeadTarget).index(HeadTarget.SINK)
        others = shares.sum(1)
        shares[:, sink] += moved[:, :-1].sum(1) + self.learned
        found = {
            "shares": shares / n,
            "learned": self.learned / n,
            "entropy": self.entropy / n,
            "distance": torch.where(others > 0, (self.distance + rest[:, -1]) / others, torch.nan),
        }
        return {name: x.float().numpy() for name, x in found.items()}


def _entropies(pattern: Float[Tensor, "H Tq Tk"]) -> Float[Tensor, "H Tq"]:
    """−Σ p ln p of each row; 0 ln 0 is 0."""
    logs = pattern.clamp(min=SMALLEST).log_()
    return -logs.mul_(pattern).sum(-1)


def split_evenly(length: int, size: int) -> Int[Array, " n1"]:
    """The bounds of at most `size` stretches of as nearly equal length as may be."""
    found: Array = np.linspace(0, length, min(size, length) + 1).round().astype(np.int32)
    return found


def pool_keys(sums: Float[Array, "H n T"], bounds: Int[Array, " n1"]) -> Float[Array, "H n n"]:
    """Sums over queries of a field, as means over these queries of what all keys of a field are given together."""
    counts = np.diff(bounds)
    pooled: Array = np.add.reduceat(sums, bounds[:-1], axis=2) / counts[:, None]
    return pooled


def code_shares(shares: Float[Array, "*n"]) -> UInt8[Array, "*n"]:
    """Shares as one byte on a logarithmic scale: 0 below 1e-4, else 1 to 255; a step is 3.7 %."""
    logs = np.log10(np.maximum(shares, LOWEST)) + 4
    coded: Array = np.where(shares < LOWEST, 0, 1 + np.rint(254 * logs / 4)).clip(0, 255).astype(np.uint8)
    return coded
