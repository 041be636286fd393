"""The vector that reads back as a token: its row, whitened by the covariance of all rows (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel
from intravisto_core.models.weights import CHUNK
from intravisto_core.progress import Progress
from intravisto_core.sites import NormPolicy

# λ as a part of the mean diagonal of G
RIDGE = 1e-3
# of one turn, about a tenth of a second of a processor's work
_TURN_OPERATIONS = 5e9
_LEAST_ROWS = 64

Tables = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Whitener:
    """`(G + λI)⁻¹` for the places that are read alike.

    mix: a, the share of the output table. factor: lower Cholesky factor of G + λI, (d, d), float64.
    """

    mix: float
    policy: NormPolicy
    factor: Float[Tensor, "d d"]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.factor.nbytes

    def vector(self, model: LoadedModel, ids: Sequence[int]) -> Float[Tensor, " d"]:
        """`(G + λI)⁻¹ (M[t] − mean_v M[v])`, float32; of several tokens the mean."""
        chosen = torch.tensor(list(ids), device=self.factor.device)
        rows = sum(
            (share * (model.weights.get(table, chosen).float() - model.weights.mean_row(table)).mean(0).double())
            for table, share in split_mix(self.mix).items()
        )
        direction = enter_stream(model, torch.as_tensor(rows), self.policy)
        return torch.cholesky_solve(direction[:, None], self.factor)[:, 0].float()


def enter_stream(model: LoadedModel, rows: Float[Tensor, "*n d"], policy: NormPolicy) -> Float[Tensor, "*n d"]:
    """Rows of a table as directions of the stream: what a norm policy does to a vector, done to them (§3)."""
    if policy is NormPolicy.NONE:
        return rows
    return model.norm.centre(rows if policy is NormPolicy.NORM_ONLY else model.norm.scale * rows)


def split_mix(mix: float) -> Mapping[str, float]:
    """The tables of a mixed one with their shares; a table without a share is left out."""
    return {table: share for table, share in (("embed", 1 - mix), ("unembed", mix)) if share}


def list_pairs(mix: float) -> tuple[Tables, ...]:
    """The pairs of tables whose covariance a mix needs."""
    tables = tuple(split_mix(mix))
    return tuple((a, b) for i, a in enumerate(tables) for b in tables[i:])


def accumulate_covariance(model: LoadedModel, tables: Tables) -> Generator[Progress, None, Float[Tensor, "d d"]]:
    """`mean_v (A[v] − Ā)ᵀ (B[v] − B̄)` of the rows of two tables, float64.

    Rows are centred before their products, which are float32 in a block of rows and are added up in float64. Packed
    tables are read as they are multiplied. 2·V·d² operations.
    """
    first, second = tables
    weights, d = model.weights, model.dimensions.d_model
    rows = int(min(CHUNK, max(_LEAST_ROWS, _TURN_OPERATIONS / (2 * d * d))))
    mean, other = weights.mean_row(first), weights.mean_row(second)
    total = torch.zeros((d, d), dtype=torch.float64, device=mean.device)
    n = weights.n_rows(first)
    beside = weights.chunks(second, rows) if second != first else repeat(None)
    for (start, x), pair in zip(weights.chunks(first, rows), beside, strict=False):
        centred = x - mean
        total += centred.T @ (centred if pair is None else pair[1] - other)
        yield Progress(min(n, start + rows), n, "measuring the vocabulary, once a model")
    return total / n


def make_whitener(
    model: LoadedModel, mix: float, policy: NormPolicy, covariances: Mapping[Tables, Float[Tensor, "d d"]]
) -> Whitener:
    """The whitener of a mix and a policy from the covariances of its pairs of tables."""
    shares = split_mix(mix)
    raw = torch.zeros_like(next(iter(covariances.values())))
    for (a, b), found in covariances.items():
        raw += shares[a] * shares[b] * (found if a == b else found + found.T)
    # both sides of each product of two rows, as `enter_stream` treats one
    g = enter_stream(model, enter_stream(model, raw, policy).T.contiguous(), policy)
    g = (g + g.T) / 2
    ridge = RIDGE * g.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
    g.diagonal().add_(ridge)
    return Whitener(mix, policy, torch.linalg.cholesky(g))
