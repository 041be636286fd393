"""How two models of one tokenizer differ on a text, and in their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.grid import row_label
from intravisto_core.records.model import Token


@dataclass(frozen=True)
class ModelDifference(Record):
    """What quantising, an adapter or further training changed (docs/methods.md §8).

    model, other: names of the two. tokens: of the text that both read, T of them. rows: R = L + 2 as in a heatmap, 0
    embeddings, 1 … L block outputs by the output lens, L + 1 the model's own logits.
    kl: (R, T) KL(model ‖ other), nats. top_ids, other_top_ids: (R, T) top tokens. logit_largest, logit_rms: (T,) of the
    change of the own logits, the mean change taken off for the second. log_prob, other_log_prob: (T,) of the token that
    the text really goes on with, nats; NaN at its end. weights: names of all weights, n of them. weight_error: (n,)
    ‖W′ − W‖/‖W‖. weight_layer: (n,) the block that each belongs to, −1 outside. shown: each token id as text.
    """

    model: str
    other: str
    n_layers: int
    prompt_length: int
    tokens: tuple[Token, ...]
    rows: Int[Array, " R"]
    kl: Float[Array, "R T"]
    top_ids: Int[Array, "R T"]
    other_top_ids: Int[Array, "R T"]
    logit_largest: Float[Array, " T"]
    logit_rms: Float[Array, " T"]
    log_prob: Float[Array, " T"]
    other_log_prob: Float[Array, " T"]
    weights: tuple[str, ...]
    weight_error: Float[Array, " n"]
    weight_layer: Int[Array, " n"]
    shown: Mapping[int, str]

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
