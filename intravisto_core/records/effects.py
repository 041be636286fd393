"""What an edit changed, and how well a link's effect is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.grid import row_label
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, Lens, NormPolicy, Patching, TextMode


@dataclass(frozen=True)
class Comparison(Record):
    """A trace ("baseline") and an edited one, position by position (docs/methods.md §8).

    mode: "held" or "free". edits: each intervention in words. tokens, edited_tokens: of the two whole texts.
    differs_at: the first position that reads another token, or None. n_compared: C, the positions that can be compared:
    all that come before it, so the last of them *says* the first differing token.
    log_prob, edited_log_prob: (C,) of the token that the baseline's text really goes on with, NaN at its end, in nats.
    kl: (C,) KL(baseline ‖ edited) of the two predictions, in nats. top_ids, edited_top_ids: (C,).
    target, contrast: token ids. logit_difference, edited_logit_difference: (C,) target's logit less contrast's.
    position: which position the headline numbers are of.
    noise: what a no-op does on the same path, the largest over positions, by name: log_prob, logit_difference, kl,
    grid_kl, grid_distance; 0 where it is bit-identical. exact: whether the path is a full run on the same kernels.
    rows (R,), positions (P,): of the difference grid; cells past the compared ones are NaN, their ids −1.
    grid_kl: (R, P) KL(baseline's cell ‖ edited cell), nats; NaN for updates. grid_distance: (R, P) ‖Δx‖₂/‖x‖₂.
    grid_difference: (R, P) change of the logit difference of target and contrast in the cell.
    grid_ids, grid_edited_ids: (R, P) top tokens. edited_cells: (R, P) true where an intervention acts on what the cell
    shows. blank: why a row has no cells, "" where it has. shown: each token id as text.
    patching, recovered: the recovered share (clean, corrupt and edited logit difference in `m_clean`, `m_corrupt`,
    `m_edit`), NaN where it was not asked for or is undefined. notes: what the reader must know.
    """

    baseline: str
    edited: str
    model: str
    n_layers: int
    mode: TextMode
    edits: tuple[str, ...]
    tokens: tuple[Token, ...]
    edited_tokens: tuple[Token, ...]
    text: str
    edited_text: str
    prompt_length: int
    differs_at: int | None
    n_compared: int
    log_prob: Float[Array, " C"]
    edited_log_prob: Float[Array, " C"]
    kl: Float[Array, " C"]
    top_ids: Int[Array, " C"]
    edited_top_ids: Int[Array, " C"]
    target: int
    contrast: int
    logit_difference: Float[Array, " C"]
    edited_logit_difference: Float[Array, " C"]
    position: int
    noise: Mapping[str, float]
    exact: bool
    component: Component
    lens: Lens
    norm: NormPolicy
    rows: Int[Array, " R"]
    positions: Int[Array, " P"]
    grid_kl: Float[Array, "R P"]
    grid_distance: Float[Array, "R P"]
    grid_difference: Float[Array, "R P"]
    grid_ids: Int[Array, "R P"]
    grid_edited_ids: Int[Array, "R P"]
    edited_cells: Bool[Array, "R P"]
    blank: tuple[str, ...]
    shown: Mapping[int, str]
    patching: Patching | None = None
    recovered: float = float("nan")
    m_clean: float = float("nan")
    m_corrupt: float = float("nan")
    m_edit: float = float("nan")
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        c, grid = (self.n_compared,), (len(self.rows), len(self.positions))
        if len(self.blank) != grid[0]:
            raise TraceError(f"Comparison: expected {grid[0]} reasons; got {len(self.blank)}")
        along = (
            *("log_prob", "edited_log_prob", "kl", "top_ids", "edited_top_ids"),
            *("logit_difference", "edited_logit_difference"),
        )
        check_shapes(self, **{n: (getattr(self, n), c) for n in along})
        cells = ("kl", "distance", "difference", "ids", "edited_ids")
        check_shapes(self, **{f"grid_{n}": (getattr(self, f"grid_{n}"), grid) for n in cells})
        check_shapes(self, edited_cells=(self.edited_cells, grid))

    @property
    def same_text(self) -> bool:
        """Whether the two runs read the same tokens."""
        return self.differs_at is None

    def row_label(self, row: int) -> str:
        """What a heatmap row is called."""
        return row_label(row, self.n_layers)


@dataclass(frozen=True)
class LinkCheck(Record):
    """Predicted and measured effect of taking away each link's vector (docs/methods.md §6, checking a link).

    target, contrast: token ids; metric: their logit difference at `position` as it is. predicted: (n,) −⟨∂m/∂s, e⟩.
    measured: (n,) m(run with e taken away) − m. size: (n,) ‖e‖₂. labels: each link in words. source, head, neuron,
    expert: (n,) −1 where the link has none. noise: the largest change of m that a no-op makes on the same path.
    rank_correlation: Spearman's, NaN for fewer than 3 links.
    """

    trace: str
    target: int
    contrast: int
    position: int
    metric: float
    labels: tuple[str, ...]
    component: tuple[Component, ...]
    layer: Int[Array, " n"]
    at: Int[Array, " n"]
    source: Int[Array, " n"]
    head: Int[Array, " n"]
    neuron: Int[Array, " n"]
    expert: Int[Array, " n"]
    predicted: Float[Array, " n"]
    measured: Float[Array, " n"]
    size: Float[Array, " n"]
    noise: float
    rank_correlation: float
    shown: Mapping[int, str]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = (len(self.labels),)
        names = ("layer", "at", "source", "head", "neuron", "expert", "predicted", "measured", "size")
        check_shapes(self, **{name: (getattr(self, name), n) for name in names})


@dataclass(frozen=True)
class ConceptDirection(Record):
    """A direction in the stream, of unit norm, with where it comes from (docs/methods.md §8).

    vector: (d,). made_of: in words. model: the family and weights that it belongs to. strength: ‖difference‖₂ before it
    was scaled to 1. site, layer: where it was read, "" and −1 where it comes from a token.
    """

    name: str
    vector: Float[Array, " d"]
    made_of: str
    model: str
    strength: float = 1.0
    site: str = ""
    layer: int = -1

    def __post_init__(self) -> None:
        if self.vector.ndim != 1:
            raise TraceError(f"ConceptDirection.vector: expected shape (d,); got {self.vector.shape}")
