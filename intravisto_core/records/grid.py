"""A heatmap: decoded cells with their statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, Summarised, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, Lens, NormPolicy, Reading


@dataclass(frozen=True, repr=False, slots=True)
class Watched(Summarised):
    """A followed token over the cells of a grid (docs/methods.md §4)."""

    text: str
    """As it was typed, or the token as shown where its id was given."""
    token_id: int
    """Id of its first token."""
    n_tokens: int
    """How many tokens the typed text has."""
    shown: str
    """The first token as text."""
    probability: Float[Array, "R P"]
    """Its probability in each cell, in [0, 1]; NaN where blank."""
    logit: Float[Array, "R P"]
    """Its logit in each cell, under the stream policy its change; NaN where blank."""
    rank: Int[Array, "R P"]
    """Its rank in each cell, 1 is the top; 0 where blank, and everywhere if ranks were not asked for."""

    def _summary(self) -> tuple[str, ...]:
        return (self.shown, f"token {self.token_id}", "{} rows × {} positions".format(*self.rank.shape))


@dataclass(frozen=True, repr=False)
class DecodedGrid(Record):
    """Decoded cells (docs/methods.md §1, §3, §4): R rows, P positions, K listed tokens.

    A number that a grid's reading, lens or norm does not have is NaN in its array.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    component: Component
    """What a cell decodes."""
    lens: Lens
    """With which lens."""
    norm: NormPolicy
    """With which norm."""
    reading: Reading
    """How the listed tokens are chosen."""
    rows: Int[Array, " R"]
    """Heatmap rows: 0 embeddings, 1 … L block outputs, L+1 final norm."""
    positions: Int[Array, " P"]
    """Positions in the text."""
    tokens: tuple[Token, ...]
    """The tokens at `positions`, in that order."""
    says: Int[Array, " P"]
    """Id of the model's own top token after each position."""
    token_ids: Int[Array, "R P K"]
    """Token ids of each cell, best first; −1 where blank or nothing more."""
    probabilities: Float[Array, "R P K"]
    """Probability of each of them, in [0, 1]; NaN under the stream policy."""
    logits: Float[Array, "R P K"]
    """Logit of each of them; under the stream policy the *change* of logit."""
    p_max: Float[Array, "R P"]
    """Largest probability of the cell, in [0, 1]."""
    entropy: Float[Array, "R P"]
    """Entropy of the cell's distribution, nats."""
    kl_final: Float[Array, "R P"]
    """KL from the model's own prediction at this position, nats."""
    kl_below: Float[Array, "R P"]
    """KL from the row below, nats."""
    next_log_prob: Float[Array, "R P"]
    """Log-probability of the token that really comes next, nats; NaN in the last column."""
    norms: Float[Array, "R P"]
    """‖x‖₂ of the stream."""
    cosine: Float[Array, "R P"]
    """Cosine of the stream with the row below, in [−1, 1]."""
    top3_share: Float[Array, "R P"]
    """Share of ‖x‖² in its 3 largest dimensions, in [0, 1]."""
    blank: tuple[str, ...]
    """Why a row has no cells, "" where it has."""
    shown: Mapping[int, str]
    """Each token id of the grid as text."""
    d_vocab: int
    """V, the size of the vocabulary."""
    suppressed_ids: Int[Array, "R P K"] | None = None
    """Under the stream policy, token ids that are lowered most, the strongest first; else None."""
    suppressed_logits: Float[Array, "R P K"] | None = None
    """Change of logit of each of them; else None."""
    coefficients: Float[Array, "R P K"] | None = None
    """Of the iterative reading, ⟨x, ê_t⟩ of each listed token; else None."""
    winner: Array | None = None
    """Under the max-probability lens, text: "output", "input" or "" (blank); else None."""
    watch: tuple[Watched, ...] = ()
    """Followed tokens."""
    next_ids: Int[Array, " P"] | None = None
    """Id of the token that the text really goes on with, −1 after the last; None in records made by hand."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

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

    def _summary(self) -> tuple[str, ...]:
        return (
            f"{len(self.rows)} rows × {len(self.positions)} positions",
            self.component.value,
            f"{self.lens.value} lens",
            self.model,
        )

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
