"""What an engine answers with: frozen results in NumPy, each with its shapes and units; each checks itself when built.

R rows and P positions of the view, K listed tokens, L layers, T positions of the trace, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.sites import Capability, Component, Lens, NormPolicy, Reading, ShareMeasure, Site

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text.

    text: as the tokenizer decodes it alone. shown: with visible spaces and newlines (`tokens.shown`).
    position: in the text, BOS included.
    """

    id: int
    text: str
    shown: str
    position: int
    is_prompt: bool
    is_special: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One identity of docs/methods.md §2, as measured on the loaded model.

    error: the largest e over layers and positions ≥ 1; None where it could not be measured. at_start: the same at
    position 0. median: over all. allowed: the tolerance. exact: bit-equal where that is claimed, else None.
    """

    ok: bool
    error: float | None
    reason: str = ""
    allowed: float = 0.0
    median: float | None = None
    at_start: float | None = None
    exact: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a loaded model is, and what the self-check found."""

    name: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    context: int
    tied: bool
    block: str
    norm: str
    dtype: str
    device: str
    n_parameters: int
    weight_bytes: int
    stock_difference: float | None = None
    probe: str = ""
    capabilities: Mapping[Capability, Check] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawer:
    """How a kind of record is drawn; `figures` registers one for each."""

    figure: Callable[..., go.Figure]
    html: Callable[..., str]
    frame: Callable[[Any], pd.DataFrame]
    save: Callable[..., Path]


_DRAWERS: dict[type, Drawer] = {}


def register_drawer(record: type, drawer: Drawer) -> None:
    """Tell how records of that type are drawn."""
    _DRAWERS[record] = drawer


class Record:
    """Base of the records: every one can be seen, tabled and saved."""

    def _drawer(self) -> Drawer:
        try:
            return _DRAWERS[type(self)]
        except KeyError:
            raise TraceError(
                f"{type(self).__name__} has no drawer here: expected `import intravisto_core`, which brings them"
            ) from None

    def figure(self, **options: Any) -> go.Figure:
        """A Plotly figure: static, adaptable."""
        return self._drawer().figure(self, **options)

    def html(self, **options: Any) -> str:
        """A whole page as text, interactive, that works offline."""
        return self._drawer().html(self, **options)

    def frame(self) -> pd.DataFrame:
        """The numbers as a table, one row a cell."""
        return self._drawer().frame(self)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the record: .html, .csv, .json, or .png, .svg, .pdf (these need Chromium)."""
        return self._drawer().save(self, path, **options)

    def _repr_html_(self) -> str:
        from html import escape

        page = escape(self.html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:560px;border:0"></iframe>'


def _shapes(record: Record, **arrays: tuple[Array | None, tuple[int, ...]]) -> None:
    for name, (array, shape) in arrays.items():
        if array is not None and array.shape != shape:
            raise TraceError(f"{type(record).__name__}.{name}: expected shape {shape}; got {array.shape}")


@dataclass(frozen=True, slots=True)
class Watched:
    """A followed token over the cells of a grid (docs/methods.md §4).

    text: as typed. token_id: its first token. n_tokens: how many it had. probability, logit, rank: (R, P);
    rank 1 is the top; NaN (rank 0) where blank.
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
    says: the model's own top token after each position. token_ids: best first, −1 where blank or nothing more.
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
        _shapes(self, rows=(self.rows, (r,)), positions=(self.positions, (p,)), says=(self.says, (p,)))
        _shapes(self, **{n: (getattr(self, n), (r, p)) for n in cells})
        _shapes(self, **{n: (getattr(self, n), (r, p, k)) for n in lists})

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


@dataclass(frozen=True)
class Shares(Record):
    """How much attention and MLP count where they join the stream (docs/methods.md §5).

    attention, mlp: (L, T), in [0, 1] unless the measure is signed; NaN where undefined. In a serial block attention's
    share is of `resid_mid`, the MLP's of `resid_post`; in a parallel block both are of `resid_post`.
    residual_attention, residual_mlp: what is left for the stream at the same junctions (equal in a parallel block).
    """

    trace: str
    measure: ShareMeasure
    block: str
    attention: Float[Array, "L T"]
    mlp: Float[Array, "L T"]
    residual_attention: Float[Array, "L T"]
    residual_mlp: Float[Array, "L T"]
    tokens: tuple[Token, ...] = ()

    def __post_init__(self) -> None:
        shape = self.attention.shape
        names = ("mlp", "residual_attention", "residual_mlp")
        _shapes(self, **{n: (getattr(self, n), shape) for n in names})


@dataclass(frozen=True)
class Activation(Record):
    """Captured values of one site: (T, width), or (heads, T, width) of a site with heads; float32."""

    trace: str
    site: Site
    layer: int
    head: int | None
    values: Float[Array, "*heads T width"]


@dataclass(frozen=True)
class Pattern(Record):
    """Attention of one head: (T query, T key), rows sum to 1 (less with learned sinks)."""

    trace: str
    layer: int
    head: int
    values: Float[Array, "T T"]
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Logits(Record):
    """The model's own logits after one position: (V,), float32."""

    trace: str
    position: int
    values: Float[Array, " V"]
