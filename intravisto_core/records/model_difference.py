"""How two models of one tokenizer differ on a text, and in their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.grid import row_label
from intravisto_core.records.model import Token


@dataclass(frozen=True, repr=False)
class ModelDifference(Record):
    """What quantising, an adapter or further training changed (docs/methods.md §8)."""

    model: str
    """Name of the first model."""
    other: str
    """Name of the second one."""
    n_layers: int
    """L, of both."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    tokens: tuple[Token, ...]
    """Of the text that both read, T of them."""
    rows: Int[Array, " R"]
    """R = L + 2 as in a heatmap: 0 embeddings, 1 … L block outputs by the output lens, L + 1 the models' own logits."""
    kl: Float[Array, "R T"]
    """KL(model ‖ other), nats."""
    top_ids: Int[Array, "R T"]
    """Top tokens of the first model."""
    other_top_ids: Int[Array, "R T"]
    """Top tokens of the second one."""
    logit_largest: Float[Array, " T"]
    """The largest change of an own logit."""
    logit_rms: Float[Array, " T"]
    """Root mean square of the change of the own logits, the mean change taken off."""
    log_prob: Float[Array, " T"]
    """Of the token that the text really goes on with, nats; NaN at its end."""
    other_log_prob: Float[Array, " T"]
    """The same of the second model."""
    weights: tuple[str, ...]
    """Names of all weights, n of them."""
    weight_error: Float[Array, " n"]
    """‖W′ − W‖ / ‖W‖ of each weight."""
    weight_layer: Int[Array, " n"]
    """The block that each weight belongs to, −1 outside of blocks."""
    shown: Mapping[int, str]
    """Each token id as text."""

    def __post_init__(self) -> None:
        t, cells, n = (len(self.tokens),), (self.n_layers + 2, len(self.tokens)), (len(self.weights),)
        if len(self.rows) != cells[0]:
            raise TraceError(f"ModelDifference: expected {cells[0]} rows; got {len(self.rows)}")
        along = ("logit_largest", "logit_rms", "log_prob", "other_log_prob")
        check_shapes(self, **{name: (getattr(self, name), t) for name in along})
        check_shapes(self, **{name: (getattr(self, name), cells) for name in ("kl", "top_ids", "other_top_ids")})
        check_shapes(self, **{name: (getattr(self, name), n) for name in ("weight_error", "weight_layer")})

    @property
    def changed(self) -> Bool[Array, "R T"]:
        """Where the two models' top tokens differ."""
        found: Array = self.top_ids != self.other_top_ids
        return found

    def row_label(self, row: int) -> str:
        """What a heatmap row is called."""
        return row_label(row, self.n_layers)

    def _summary(self) -> tuple[str, ...]:
        return (f"{self.model} and {self.other}", f"{len(self.rows)} rows × {len(self.tokens)} positions")
