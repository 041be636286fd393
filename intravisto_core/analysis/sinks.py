"""Which keys of a layer are attention sinks (docs/methods.md §5). T positions, H heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intravisto_core.analysis.division import project_values
from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.models import LoadedModel

Array = np.ndarray

LATER = 4  # positions between a key and the first query that counts
FEWEST = 5  # queries that a key needs
LEAST = 0.08  # of the attention of those queries
TIMES_EVEN = 3.0  # as much as a query gives to each key where it looks at all alike
SMALL = 0.45  # of what the median key brings


@dataclass(slots=True)
class Looks:
    """Sums over the queries of one layer, taken in a stretch at a time; nothing of T×T is kept.

    weight: of a key, Σ over queries at least 4 later of the mean weight over heads. even: Σ over the same queries of 1
    over how many keys each sees. n_queries: how many they are. received: Σ over queries from 1 on, 4 later or not.
    first, learned: (H,) Σ over queries from 1 on of what a head gives to position 0 and to its learned sink.
    """

    weight: Float[Tensor, " T"]
    even: Float[Tensor, " T"]
    n_queries: Float[Tensor, " T"]
    received: Float[Tensor, " T"]
    first: Float[Tensor, " H"]
    learned: Float[Tensor, " H"]

    @classmethod
    def nothing(cls, n_heads: int, length: int) -> Looks:
        """Before any query was looked at."""
        of_keys = torch.zeros((4, length), dtype=torch.float64)
        of_heads = torch.zeros((2, n_heads), dtype=torch.float64)
        return cls(*of_keys, *of_heads)

    def add(
        self,
        queries: Int[Tensor, " Tq"],
        pattern: Float[Tensor, "H Tq Tk"],
        first: Int[Tensor, " Tq"],
        last: Int[Tensor, " Tq"],
        start: int = 0,
    ) -> None:
        """Take queries in. first, last: the keys that each may see. start: the position of the pattern's first key."""
        device, at = pattern.device, slice(start, start + pattern.shape[2])
        queries, first, last = (x.to(device) for x in (queries, first, last))
        keys = torch.arange(at.start, at.stop, device=device)
        counts = (keys + LATER <= queries[:, None]) & (keys >= first[:, None]) & (keys <= last[:, None])
        mean = pattern.mean(0)
        self.weight[at] += (mean * counts).sum(0, dtype=torch.float64).cpu()
        self._count(first.cpu(), torch.minimum(last, queries - LATER).cpu(), (last - first + 1).cpu())
        others = queries >= 1
        self.received[at] += mean[others].sum(0, dtype=torch.float64).cpu()
        if not start:
            self.first += pattern[:, others, 0].sum(1, dtype=torch.float64).cpu()
        self.learned += (1 - pattern[:, others].sum(-1)).clamp(0, 1).sum(1, dtype=torch.float64).cpu()

    def _count(self, first: Int[Tensor, " Tq"], until: Int[Tensor, " Tq"], n_keys: Int[Tensor, " Tq"]) -> None:
        """Count each query for its keys from first to until: it comes in where they begin and goes behind their end."""
        some = until >= first
        steps = torch.zeros((2, len(self.even) + 1), dtype=torch.float64)
        adds = torch.stack([1 / n_keys[some].double(), torch.ones(int(some.sum()), dtype=torch.float64)])
        steps.index_add_(1, first[some], adds).index_add_(1, until[some] + 1, -adds)
        even, n_queries = steps.cumsum(1)[:, :-1]
        self.even += even
        self.n_queries += n_queries


def measure_value_sizes(model: LoadedModel, layer: int, v: Float[Tensor, "Hkv T d_v"]) -> Float[Array, " T"]:
    """What each key brings where it is looked at in full: the mean over heads of ‖v W_O‖, through the post-norm's γ."""
    n_heads = model.dimensions.n_heads
    w_o = model.weights.get(f"w_o.{layer}").float().unflatten(1, (n_heads, v.shape[2]))
    norm, multiplier = apply_post_norm(model, layer, "w_o"), model.blueprint.multiplier
    sizes = [x.norm(dim=-1).mean(0) for _, x in project_values(v, w_o, norm, multiplier)]
    found: Array = torch.cat(sizes).double().cpu().numpy()
    return found


@dataclass(frozen=True, slots=True)
class FoundSinks:
    """The keys of a layer: what was measured of each, and which are sinks. NaN where no query counts.

    weight, least: mean weight from queries at least 4 later, and how much of it a sink has at least.
    """

    weight: Float[Array, " T"]
    least: Float[Array, " T"]
    is_sink: Bool[Array, " T"]


def find_sinks(looks: Looks, size: Float[Array, " T"] | None) -> FoundSinks:
    """Which keys are sinks. size: of what each brings, over the median key's; None: only position 0 can be told."""
    n = looks.n_queries.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = looks.weight.numpy() / n
        least = np.maximum(LEAST, TIMES_EVEN * (looks.even.numpy() / n))
    is_sink = (n >= FEWEST) & (weight >= least)
    small = np.zeros(len(n), bool) if size is None else size < SMALL
    small[0] = True
    return FoundSinks(np.where(n > 0, weight, np.nan), np.where(n > 0, least, np.nan), is_sink & small)
