"""The contribution-threshold graph."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token


@dataclass(frozen=True)
class ContributionGraph(Record):
    """What contributed enough, step by step down from a start: nodes token × row (docs/methods.md §6).

    row, starts: where it starts. threshold: least share of an edge. rows: (R,) the rows that are drawn.

    Nodes, N of them, from the top row down: node_row: heatmap row 0 … L; node_position; node_mlp: the MLP's share where
    it joins at that node (row 0: NaN); node_mlp_over: whether that is at least the threshold.
    Edges, E of them, the largest share first: edge_source (row r−1), edge_target (row r): (E,) indices of nodes.
    edge_kind: (E,) text: "residual" (the same position) or "attention" (the sum over its heads; the same position may
    have one of each). edge_share: in the joint L1 form, in [0, 1], of all that joins there with attention.
    n_edges: how many edges of at least the threshold are reached from the start, in all rows.
    """

    trace: str
    model: str
    n_layers: int
    block: str
    prompt_length: int
    tokens: tuple[Token, ...]
    row: int
    starts: Int[Array, " S"]
    threshold: float
    rows: Int[Array, " R"]
    node_row: Int[Array, " N"]
    node_position: Int[Array, " N"]
    node_mlp: Float[Array, " N"]
    node_mlp_over: Array
    edge_source: Int[Array, " E"]
    edge_target: Int[Array, " E"]
    edge_kind: Array
    edge_share: Float[Array, " E"]
    n_edges: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = ("node_position", "node_mlp", "node_mlp_over")
        check_shapes(self, **{n: (getattr(self, n), self.node_row.shape) for n in names})
        names = ("edge_source", "edge_target", "edge_kind")
        check_shapes(self, **{n: (getattr(self, n), self.edge_share.shape) for n in names})
