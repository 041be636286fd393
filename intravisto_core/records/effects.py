"""What an edit changed, and how well a link's effect is predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError
from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.grid import row_label
from intravisto_core.records.model import Token
from intravisto_core.sites import Component, Lens, NormPolicy, Patching, TextMode


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """A trace ("baseline") and an edited one, position by position (docs/methods.md §8).

    C is the number of positions that can be compared. The grid has R rows and P positions; its cells are NaN past the
    compared positions, their token ids −1.
    """

    baseline: str
    """The unedited trace, by its id."""
    edited: str
    """The edited trace, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    mode: TextMode
    """ "held": the edited run reads the same tokens; "free": it goes on with its own."""
    edits: tuple[str, ...]
    """Each intervention in words."""
    tokens: tuple[Token, ...]
    """All tokens of the baseline's text."""
    edited_tokens: tuple[Token, ...]
    """All tokens of the edited run's text."""
    text: str
    """The baseline's whole text."""
    edited_text: str
    """The edited run's whole text."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    differs_at: int | None
    """The first position that reads another token, or None."""
    n_compared: int
    """C: all positions that come before it, so that the last of them *says* the first differing token."""
    log_prob: Float[Array, " C"]
    """Log-probability of the token that the baseline's text goes on with, nats; NaN at its end."""
    edited_log_prob: Float[Array, " C"]
    """The same in the edited run."""
    kl: Float[Array, " C"]
    """KL(baseline ‖ edited) of the two predictions, nats."""
    top_ids: Int[Array, " C"]
    """Id of the baseline's top token at each position."""
    edited_top_ids: Int[Array, " C"]
    """Id of the edited run's top token at each position."""
    target: int
    """Id of the token whose logit is followed."""
    contrast: int
    """Id of the token that it is held against."""
    logit_difference: Float[Array, " C"]
    """Target's logit less contrast's at each position, in the baseline."""
    edited_logit_difference: Float[Array, " C"]
    """The same in the edited run."""
    position: int
    """The position that the headline numbers are of."""
    noise: Mapping[str, float]
    """Largest effect of a no-op on the same path, by name: log_prob, logit_difference, kl, grid_kl, grid_distance."""
    exact: bool
    """Whether that path is a full run on the same kernels."""
    component: Component
    """What the cells of the grid decode."""
    lens: Lens
    """With which lens."""
    norm: NormPolicy
    """With which norm."""
    rows: Int[Array, " R"]
    """Heatmap rows of the grid."""
    positions: Int[Array, " P"]
    """Positions of the grid."""
    grid_kl: Float[Array, "R P"]
    """KL(baseline's cell ‖ edited cell), nats; NaN for updates."""
    grid_distance: Float[Array, "R P"]
    """‖Δx‖₂/‖x‖₂ of the vector that the cell decodes."""
    grid_difference: Float[Array, "R P"]
    """Change of the logit difference of target and contrast in the cell."""
    grid_ids: Int[Array, "R P"]
    """Id of the baseline's top token in the cell."""
    grid_edited_ids: Int[Array, "R P"]
    """Id of the edited run's top token in the cell."""
    edited_cells: Bool[Array, "R P"]
    """True where an intervention acts on what the cell shows."""
    blank: tuple[str, ...]
    """Why a row has no cells, "" where it has."""
    shown: Mapping[int, str]
    """Each token id as text."""
    patching: Patching | None = None
    """Which way the recovered share was asked for, or None."""
    recovered: float = float("nan")
    """The recovered share; NaN where it was not asked for or is undefined."""
    m_clean: float = float("nan")
    """Logit difference of the clean run."""
    m_corrupt: float = float("nan")
    """Logit difference of the corrupt run."""
    m_edit: float = float("nan")
    """Logit difference of the edited run."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

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

    def _summary(self) -> tuple[str, ...]:
        return (
            f"edits: {len(self.edits)}",
            f"{self.n_compared} positions compared",
            f"text {self.mode.value}",
            self.model,
        )

    @property
    def same_text(self) -> bool:
        """Whether the two runs read the same tokens."""
        return self.differs_at is None

    def row_label(self, row: int) -> str:
        """What a heatmap row is called."""
        return row_label(row, self.n_layers)


@dataclass(frozen=True, repr=False)
class LinkCheck(Record):
    """Predicted and measured effect of taking away each link's vector (docs/methods.md §6, checking a link).

    m is the metric, e the vector of a link, n the number of links.
    """

    trace: str
    """The trace that it was read from, by its id."""
    target: int
    """Id of the token whose logit is followed."""
    contrast: int
    """Id of the token that it is held against."""
    position: int
    """The position whose logits are meant."""
    metric: float
    """m: target's logit less contrast's there, as it is."""
    labels: tuple[str, ...]
    """Each link in words."""
    component: tuple[Component, ...]
    """Which component wrote each link's vector."""
    layer: Int[Array, " n"]
    """Layer of each link."""
    at: Int[Array, " n"]
    """Position that each link writes to."""
    source: Int[Array, " n"]
    """Position that it reads from, −1 where it has none."""
    head: Int[Array, " n"]
    """Its head, −1 where it has none."""
    neuron: Int[Array, " n"]
    """Its neuron, −1 where it has none."""
    expert: Int[Array, " n"]
    """Its expert, −1 where it has none."""
    predicted: Float[Array, " n"]
    """−⟨∂m/∂s, e⟩, the change of m to first order."""
    measured: Float[Array, " n"]
    """m of a run with e taken away, less m."""
    size: Float[Array, " n"]
    """‖e‖₂, the length of the vector."""
    noise: float
    """Largest change of m that a no-op makes on the same path."""
    rank_correlation: float
    """Spearman's, of predicted and measured; NaN for fewer than 3 links."""
    shown: Mapping[int, str]
    """The target and the contrast as text, by id."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        n = (len(self.labels),)
        names = ("layer", "at", "source", "head", "neuron", "expert", "predicted", "measured", "size")
        check_shapes(self, **{name: (getattr(self, name), n) for name in names})

    def _summary(self) -> tuple[str, ...]:
        return (
            f"links: {len(self.labels)}",
            "" if math.isnan(self.rank_correlation) else f"rank correlation {self.rank_correlation:.2f}",
            f"position {self.position}",
        )


@dataclass(frozen=True, repr=False)
class ConceptDirection(Record):
    """A direction in the stream, of unit norm, with where it comes from (docs/methods.md §8)."""

    name: str
    """What it is called."""
    vector: Float[Array, " d"]
    """The direction, ‖vector‖₂ = 1."""
    made_of: str
    """What it was made of, in words."""
    model: str
    """Family and weights that it belongs to."""
    strength: float = 1.0
    """‖difference‖₂ before it was scaled to 1."""
    site: str = ""
    """The site where it was read, "" where it comes from a token."""
    layer: int = -1
    """The layer where it was read, −1 where it comes from a token."""

    def __post_init__(self) -> None:
        if self.vector.ndim != 1:
            raise TraceError(f"ConceptDirection.vector: expected shape (d,); got {self.vector.shape}")

    def _summary(self) -> tuple[str, ...]:
        return (self.name, f"width {len(self.vector)}", f"layer {self.layer}")
