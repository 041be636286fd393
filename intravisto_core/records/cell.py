"""Readings of one cell, and of one token over all cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, ShareMeasure


@dataclass(frozen=True, repr=False)
class UpdateTokens(Record):
    """What attention or MLP wrote at one cell: tokens whose logit it raised and lowered most (docs/methods.md §3).

    Changes of logit are at the stream's scale; ranks are places in the stream's prediction, 1 is the top.
    """

    trace: str
    """The trace that it was read from, by its id."""
    component: Component
    """Which of the two wrote it: attention or MLP."""
    row: int
    """Heatmap row of the cell, 1 to L."""
    position: int
    """Position of the cell in the text."""
    promoted_ids: Int[Array, " n"]
    """Token ids that it raised most, the strongest first."""
    promoted: Float[Array, " n"]
    """Change of logit of each of them."""
    promoted_before: Int[Array, " n"]
    """Rank of each of them just before the update was added."""
    promoted_after: Int[Array, " n"]
    """Rank of each of them just after it was added."""
    suppressed_ids: Int[Array, " n"]
    """Token ids that it lowered most, the strongest first."""
    suppressed: Float[Array, " n"]
    """Change of logit of each of them."""
    suppressed_before: Int[Array, " n"]
    """Rank of each of them just before the update was added."""
    suppressed_after: Int[Array, " n"]
    """Rank of each of them just after it was added."""
    shown: Mapping[int, str]
    """Each token id that is listed, as text."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        n = self.promoted_ids.shape
        kinds = ("", "_ids", "_before", "_after")
        check_shapes(
            self, **{f"{d}{k}": (getattr(self, f"{d}{k}"), n) for d in ("promoted", "suppressed") for k in kinds}
        )

    def _summary(self) -> tuple[str, ...]:
        return (
            f"{self.component.value} of row {self.row}, position {self.position}",
            f"{len(self.promoted)} tokens each way",
        )


@dataclass(frozen=True, repr=False)
class CellShares(Record):
    """Shares of the parts of one cell under every measure (docs/methods.md §5); NaN where undefined."""

    trace: str
    """The trace that it was read from, by its id."""
    row: int
    """Heatmap row of the cell, 1 to L."""
    position: int
    """Position of the cell in the text."""
    block: str
    """ "serial" or "parallel": how attention and MLP of a block are wired."""
    measures: tuple[ShareMeasure, ...]
    """The m measures, in the order of the arrays."""
    attention: Float[Array, " m"]
    """Share of attention where it joins the stream, under each measure."""
    residual_attention: Float[Array, " m"]
    """Share of the stream where attention joins it."""
    mlp: Float[Array, " m"]
    """Share of the MLP where it joins the stream, under each measure."""
    residual_mlp: Float[Array, " m"]
    """Share of the stream where the MLP joins it; equal to the other in a parallel block."""
    missing: Mapping[ShareMeasure, str]
    """Why a measure has no value here, by measure."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        names = ("attention", "residual_attention", "mlp", "residual_mlp")
        check_shapes(self, **{n: (getattr(self, n), (len(self.measures),)) for n in names})

    def _summary(self) -> tuple[str, ...]:
        return (f"row {self.row}, position {self.position}", f"{len(self.measures)} measures")


@dataclass(frozen=True, repr=False)
class NextTokens(Record):
    """The next-token distribution after one position, as the model has it and as a sampler would draw from it."""

    trace: str
    """The trace that it was read from, by its id."""
    position: int
    """The position in the text whose next token is meant."""
    token_ids: Int[Array, " n"]
    """Token ids, the model's most probable first."""
    model: Float[Array, " n"]
    """The model's own probability of each, in [0, 1]."""
    sampled: Float[Array, " n"]
    """Its probability after temperature, top-k and top-p, in [0, 1]."""
    n_left: int
    """How many tokens the sampler can draw."""
    shown: Mapping[int, str]
    """Each token id that is listed, as text."""
    model_name: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        n = self.token_ids.shape
        check_shapes(self, model=(self.model, n), sampled=(self.sampled, n))

    def _summary(self) -> tuple[str, ...]:
        return (f"after position {self.position}", f"{len(self.token_ids)} tokens of {self.n_left} that can be drawn")


@dataclass(frozen=True, repr=False)
class TokenQuery(Record):
    """Where a token enters the top k of the stream, and what wrote it there.

    Rows are all heatmap rows 0 … L+1; P are the positions that were asked for. What is said of writers is a direct
    effect: what earlier layers prepared is not counted.
    """

    trace: str
    """The trace that it was read from, by its id."""
    text: str
    """The token as it was typed."""
    token_id: int
    """Id of its first token."""
    n_tokens: int
    """How many tokens the typed text has."""
    shown: str
    """The first token as text."""
    top_k: int
    """k: the token is in when its rank is k or better."""
    positions: Int[Array, " P"]
    """The positions in the text that were asked for."""
    tokens: tuple[Token, ...]
    """The tokens at these positions."""
    rank: Int[Array, "R P"]
    """Rank of the token in each cell, 1 is the top; 0 below the 32 that are listed, where ranks were not asked for."""
    probability: Float[Array, "R P"]
    """Its probability in each cell, in [0, 1]."""
    first_row: Int[Array, " P"]
    """The lowest row where its rank is k or better, −1 for never."""
    attention: Float[Array, " P"]
    """Change of its logit by attention at that row; NaN at rows 0 and L+1, and for never."""
    mlp: Float[Array, " P"]
    """Change of its logit by the MLP at that row; NaN at rows 0 and L+1, and for never."""
    writer: tuple[str, ...]
    """ "attention" or "mlp", which raised it more; "embeddings" at row 0, "final norm" at L+1, "" for never."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        rows, p = self.rank.shape
        if len(self.writer) != p or len(self.tokens) != p:
            raise TraceError(f"TokenQuery: expected {p} writers and tokens; got {len(self.writer)}, {len(self.tokens)}")
        check_shapes(self, probability=(self.probability, (rows, p)), positions=(self.positions, (p,)))
        check_shapes(self, **{n: (getattr(self, n), (p,)) for n in ("first_row", "attention", "mlp")})

    def _summary(self) -> tuple[str, ...]:
        return (
            f"token {self.token_id}",
            f"top {self.top_k}",
            f"{len(self.rank)} rows × {len(self.positions)} positions",
        )
