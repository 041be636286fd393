"""What heads look at, by kinds of keys, as sums that are taken in a stretch of queries at a time (methods §7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from intravisto_core.sites import HeadTarget

NEAR = 8
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


@dataclass(slots=True)
class TargetSums:
    """Sums over queries from 1 on of what each head of a layer gives to each kind of keys; float64.

    No key counts as a sink: which are is known once all queries were looked at. keys: those that may be. by_key: of
    each of them alone, what it adds to the classes, and last to the distance. distance: of p (i − j).
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
        ids: Int[Tensor, " T"],
        has_learned: bool,
    ) -> None:
        """Take queries in. start: the position of the pattern's first key. has_learned: whether what is missing from
        a row went to a learned sink.
        """
        later = queries >= 1
        queries, pattern = queries[later], pattern[:, later]
        stop = start + pattern.shape[2]
        kinds = classify_keys(queries, ids, torch.zeros(len(ids), dtype=torch.bool, device=ids.device))[:, start:stop]
        columns = torch.nn.functional.one_hot(kinds, len(HeadTarget)).to(pattern.dtype)
        back = queries[:, None] - torch.arange(start, stop, device=ids.device)
        table = torch.cat([columns, back[..., None].to(pattern.dtype)], -1)
        sums = (pattern.flatten(1) @ table.flatten(0, 1)).double().cpu()
        self.classes += sums[:, :-1]
        self.distance += sums[:, -1]
        here = (self.keys >= start) & (self.keys < stop)
        if bool(here.any()):
            at = (self.keys[here] - start).to(pattern.device)
            self.by_key[here] += torch.einsum("hqk,qkc->khc", pattern[:, :, at], table[:, at]).double().cpu()
        self.entropy += torch.special.entr(pattern).sum((1, 2)).double().cpu()
        if has_learned:
            left = (1 - pattern.sum(-1)).clamp(0, 1)
            self.learned += left.sum(1).double().cpu()
            self.entropy += torch.special.entr(left).sum(1).double().cpu()
        self.n_queries += len(queries)

    def finish(self, sinks: Bool[Tensor, " T"]) -> dict[str, Array]:
        """Means over the queries; NaN without any. sinks: among the keys that may be."""
        n = self.n_queries or torch.nan
        moved = self.by_key[sinks[self.keys]].sum(0)
        # what is left of a class that sinks had all of is rounding, of either sign
        shares, sink = (self.classes - moved[:, :-1]).clamp(min=0), list(HeadTarget).index(HeadTarget.SINK)
        others = shares.sum(1)
        shares[:, sink] += moved[:, :-1].sum(1) + self.learned
        found = {
            "shares": shares / n,
            "learned": self.learned / n,
            "entropy": self.entropy / n,
            "distance": torch.where(others > 0, (self.distance - moved[:, -1]) / others, torch.nan),
        }
        return {name: x.float().numpy() for name, x in found.items()}


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
