"""A heatmap: decoded cells with their statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, Lens, NormPolicy, Reading


@dataclass(frozen=True, slots=True)
class Watched:
    """A followed token over the cells of a grid (docs/methods.md §4).

    text: as typed, or the token as shown where its id was given. token_id: its first token. n_tokens: how many it
    had. probability, logit, rank: (R, P); rank 1 is the top; NaN (rank 0) where blank.
    """

    text: str
    token_id: int
    n_tokens: int
    shown: str
    probability: Float[Array, "R P"]
    logit: Float[Array, "R P"]
    rank: Int[Array, "R P"]


@dataclass(frozen=True)
class DecodedGrid(Record):
    """Decoded cells (docs/methods.md §1, §3, §4).

    rows: heatmap rows, 0 embeddings, 1..L block outputs, L+1 final norm. tokens: of `positions`, in that order.
    says: the model's own top token after each position. next_ids: the token that the text really goes on with, −1
    after the last position; None in records made by hand. token_ids: best first, −1 where blank or nothing more.
    probabilities: of `token_ids`; NaN under the stream policy. logits: of `token_ids`, under the stream policy the
    *change* of logit. suppressed_ids, suppressed_logits: most lowered first, under the stream policy, else None.
    coefficients: of the iterative reading, ⟨x, ê_t⟩ per listed token, else None. p_max: in [0, 1]. entropy, kl_final,
    kl_below: nats. next_log_prob: of the token that really comes next, NaN in the last column. norms: ‖x‖₂ of the
    stream; cosine: with the row below; top3_share: of ‖x‖² in its 3 largest dimensions; NaN for other readings' lack.
    winner: under the max-probability lens "output", "input" or "" (blank), else None. blank: why a row has no cells,
    "" where it has. shown: each token id of the grid as text. notes: sentences that the reader must know.
    """

    trace: str
    model: str
    n_layers: int
    prompt_length: int
    component: Component
    lens: Lens
    norm: NormPolicy
    reading: Reading
    rows: Int[Array, " R"]
    positions: Int[Array, " P"]
    tokens: tuple[Token, ...]
    says: Int[Array, " P"]
    token_ids: Int[Array, "R P K"]
    probabilities: Float[Array, "R P K"]
    logits: Float[Array, "R P K"]
    p_max: Float[Array, "R P"]
    entropy: Float[Array, "R P"]
    kl_final: Float[Array, "R P"]
    kl_below: Float[Array, "R P"]
    next_log_prob: Float[Array, "R P"]
    norms: Float[Array, "R P"]
    cosine: Float[Array, "R P"]
    top3_share: Float[Array, "R P"]
    blank: tuple[str, ...]
    shown: Mapping[int, str]
    d_vocab: int
    suppressed_ids: Int[Array, "R P K"] | None = None
    suppressed_logits: Float[Array, "R P K"] | None = None
    coefficients: Float[Array, "R P K"] | None = None
    winner: Array | None = None
    watch: tuple[Watched, ...] = ()
    next_ids: Int[Array, " P"] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        r, p, k = self.token_ids.shape
        if len(self.blank) != r or len(self.tokens) != p:
            raise TraceError(
                f"DecodedGrid: expected {r} reasons and {p} tokens; got {len(self.blank)}, {len(self.tokens)}"
            )
        cells = (
            "p_max",
            "entropy",
            "kl_final",
            "kl_below",
            "next_log_prob",
            "norms",
            "cosine",
            "top3_share",
            "winner",
        )
        lists = ("probabilities", "logits", "suppressed_ids", "suppressed_logits", "coefficients")
        check_shapes(self, rows=(self.rows, (r,)), positions=(self.positions, (p,)), says=(self.says, (p,)))
        check_shapes(self, next_ids=(self.next_ids, (p,)))
        check_shapes(self, **{n: (getattr(self, n), (r, p)) for n in cells})
        check_shapes(self, **{n: (getattr(self, n), (r, p, k)) for n in lists})

    @property
    def is_update(self) -> bool:
        """Whether cells show changes of logits (stream policy) instead of probabilities."""
        return self.norm is NormPolicy.STREAM

    def row_label(self, row: int) -> str:
        """What a heatmap row is called."""
        return row_label(row, self.n_layers)


def row_label(row: int, n_layers: int) -> str:
    """`embeddings`, `layer 0` … `layer L−1`, `final norm`."""
    return "embeddings" if row == 0 else "final norm" if row == n_layers + 1 else f"layer {row - 1}"
