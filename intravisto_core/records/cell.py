"""Readings of one cell, and of one token over all cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, ShareMeasure


@dataclass(frozen=True)
class UpdateTokens(Record):
    """What attention or MLP wrote at one cell: tokens whose logit it raised and lowered most (docs/methods.md §3).

    promoted_ids, suppressed_ids: (n,), the strongest first. promoted, suppressed: their changes of logit at the
    stream's scale. *_before, *_after: their ranks in the stream just before and after the update was added.
    """

    trace: str
    component: Component
    row: int
    position: int
    promoted_ids: Int[Array, " n"]
    promoted: Float[Array, " n"]
    promoted_before: Int[Array, " n"]
    promoted_after: Int[Array, " n"]
    suppressed_ids: Int[Array, " n"]
    suppressed: Float[Array, " n"]
    suppressed_before: Int[Array, " n"]
    suppressed_after: Int[Array, " n"]
    shown: Mapping[int, str]

    def __post_init__(self) -> None:
        n = self.promoted_ids.shape
        kinds = ("", "_ids", "_before", "_after")
        check_shapes(
            self, **{f"{d}{k}": (getattr(self, f"{d}{k}"), n) for d in ("promoted", "suppressed") for k in kinds}
        )


@dataclass(frozen=True)
class CellShares(Record):
    """Shares of the parts of one cell under every measure (docs/methods.md §5); NaN where undefined.

    measures: (m,). attention, residual_attention: where attention joins. mlp, residual_mlp: where the MLP joins (equal
    junctions in a parallel block). missing: why a measure has no value here, by measure.
    """

    trace: str
    row: int
    position: int
    block: str
    measures: tuple[ShareMeasure, ...]
    attention: Float[Array, " m"]
    residual_attention: Float[Array, " m"]
    mlp: Float[Array, " m"]
    residual_mlp: Float[Array, " m"]
    missing: Mapping[ShareMeasure, str]

    def __post_init__(self) -> None:
        names = ("attention", "residual_attention", "mlp", "residual_mlp")
        check_shapes(self, **{n: (getattr(self, n), (len(self.measures),)) for n in names})


@dataclass(frozen=True)
class NextTokens(Record):
    """The next-token distribution after one position, as the model has it and as a sampler would draw from it.

    token_ids: (n,), the most probable of the model first. model: its own probabilities. sampled: after temperature,
    top-k and top-p. n_left: how many tokens the sampler can draw.
    """

    trace: str
    position: int
    token_ids: Int[Array, " n"]
    model: Float[Array, " n"]
    sampled: Float[Array, " n"]
    n_left: int
    shown: Mapping[int, str]

    def __post_init__(self) -> None:
        n = self.token_ids.shape
        check_shapes(self, model=(self.model, n), sampled=(self.sampled, n))


@dataclass(frozen=True)
class TokenQuery(Record):
    """Where a token enters the top k of the stream, and what wrote it there.

    rank: (R, P) over all rows 0 … L+1 and the asked positions, 1 is the top. first_row: (P,) the lowest row where
    rank ≤ top_k, −1 for never. attention, mlp: (P,) the change of its logit by either at that row, NaN at rows 0, L+1
    and for never. writer: "attention" or "mlp", the one that raised it more, "embeddings" at row 0, "final norm" at
    row L+1, "" for never. A direct effect: what earlier layers prepared is not told.
    """

    trace: str
    text: str
    token_id: int
    n_tokens: int
    shown: str
    top_k: int
    positions: Int[Array, " P"]
    tokens: tuple[Token, ...]
    rank: Int[Array, "R P"]
    probability: Float[Array, "R P"]
    first_row: Int[Array, " P"]
    attention: Float[Array, " P"]
    mlp: Float[Array, " P"]
    writer: tuple[str, ...]

    def __post_init__(self) -> None:
        rows, p = self.rank.shape
        if len(self.writer) != p or len(self.tokens) != p:
            raise TraceError(f"TokenQuery: expected {p} writers and tokens; got {len(self.writer)}, {len(self.tokens)}")
        check_shapes(self, probability=(self.probability, (rows, p)), positions=(self.positions, (p,)))
        check_shapes(self, **{n: (getattr(self, n), (p,)) for n in ("first_row", "attention", "mlp")})
