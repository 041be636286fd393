"""The contribution-threshold graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import SinkHandling


@dataclass(frozen=True, repr=False)
class ContributionGraph(Record):
    """What contributed enough, step by step down from a start: nodes token × row (docs/methods.md §6).

    N nodes, from the top row down; E edges, the largest share first, each from row r−1 to row r.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    block: str
    """ "serial" or "parallel": how attention and MLP of a block are wired."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    row: int
    """Heatmap row where it starts."""
    starts: Int[Array, " S"]
    """The positions where it starts."""
    threshold: float
    """Least share of an edge, in [0, 1]."""
    rows: Int[Array, " R"]
    """The heatmap rows that are drawn."""
    node_row: Int[Array, " N"]
    """Heatmap row of each node, 0 … L."""
    node_position: Int[Array, " N"]
    """Its position."""
    node_mlp: Float[Array, " N"]
    """The MLP's share where it joins at that node; NaN at row 0."""
    node_mlp_over: Array
    """Whether that is at least the threshold."""
    edge_source: Int[Array, " E"]
    """Index of each edge's lower node."""
    edge_target: Int[Array, " E"]
    """Index of its upper node."""
    edge_kind: Array
    """Text: "residual" (the same position) or "attention" (summed over heads); a position may have both."""
    edge_share: Float[Array, " E"]
    """Share of all that joins there with attention, in the joint L1 form, in [0, 1]."""
    node_token: Int[Array, " N"]
    """Id of the token that the state of each node reads as, by the output lens; −1 without details."""
    node_probability: Float[Array, " N"]
    """Its probability; NaN without details."""
    shown: Mapping[int, str]
    """Each of these ids as text."""
    n_edges: int
    """How many edges of at least the threshold are reached from the start, in all rows."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done to attention to the sinks of each layer."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        names = ("node_position", "node_mlp", "node_mlp_over", "node_token", "node_probability")
        check_shapes(self, **{n: (getattr(self, n), self.node_row.shape) for n in names})
        of_edge = ("edge_source", "edge_target", "edge_kind")
        check_shapes(self, **{n: (getattr(self, n), self.edge_share.shape) for n in of_edge})

    def _summary(self) -> tuple[str, ...]:
        return (
            f"{len(self.node_row)} nodes, {len(self.edge_share)} edges",
            f"threshold {self.threshold:g}",
            self.model,
        )
