"""Where a prediction comes from: the flow, what two measures disagree about, and one attention node's heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import AttentionDivision, Reading, ShareMeasure, SinkHandling

if TYPE_CHECKING:
    import pandas as pd


def node_ids(kinds: Iterable[object], rows: Array, positions: Array) -> list[str]:
    """Names of flow nodes, the same in every flow of a trace: `mid.3.7`; a terminal is of a row only: `sink.3`."""
    return [
        f"{kind}.{row}" if position < 0 else f"{kind}.{row}.{position}"
        for kind, row, position in zip(kinds, rows.tolist(), positions.tolist(), strict=True)
    ]


@dataclass(frozen=True, repr=False)
class Flow(Record):
    """Mass 1 handed down from one cell, or from all positions that say a generated token (docs/methods.md §6).

    N nodes, from the top row down; M links, the largest |mass| first; Q readings of k tokens. Information goes along a
    link from its source, which is the lower node, to its target.
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
    """Heatmap row where the mass enters, L+1 for the final norm."""
    starts: Int[Array, " S"]
    """The S positions where it enters, 1/S each."""
    measure: ShareMeasure
    """How the shares of a sum's parts are measured."""
    attention: AttentionDivision
    """How attention is divided over its sources."""
    reading: Reading
    """What the lists of tokens at nodes and links are."""
    rows: Int[Array, " R"]
    """The heatmap rows that were asked for."""
    node_kind: Array
    """What each node is: text, a NodeKind."""
    node_row: Int[Array, " N"]
    """Its heatmap row; a terminal has the row of the junction that hands to it."""
    node_position: Int[Array, " N"]
    """Its position; −1 for terminals, which are one a kind and row."""
    node_mass: Float[Array, " N"]
    """All mass through the node, drawn or not; may be negative under the projection."""
    node_reading: Int[Array, " N"]
    """Which reading decodes the node's own vector; −1 for none (terminals)."""
    node_difference: Int[Array, " N"]
    """Which reading decodes what changed since the row below; −1 for none."""
    link_source: Int[Array, " M"]
    """Index of each link's source among the nodes."""
    link_target: Int[Array, " M"]
    """Index of its target among the nodes."""
    link_kind: Array
    """What each link is: text, a LinkKind."""
    link_share: Float[Array, " M"]
    """Its share of the target's mass; may be negative under the projection."""
    link_mass: Float[Array, " M"]
    """Its share times the target's mass."""
    link_kl: Float[Array, " M"]
    """KL(target ‖ source) under the output lens, nats; NaN at terminals and without details."""
    link_difference: Int[Array, " M"]
    """Which reading decodes target less source; −1 for none: only links inside the stream have one."""
    reading_ids: Int[Array, "Q k"]
    """Token ids of each reading, best first; −1 where nothing more."""
    reading_numbers: Float[Array, "Q k"]
    """The number of each of these tokens, in the reading's unit."""
    reading_unit: Array
    """Text: "probability"; "change" of logit, of updates and differences; "coefficient", of iterative ones."""
    shown: Mapping[int, str]
    """Each token id as text."""
    n_nodes: int
    """How many nodes of non-zero mass there are without limits."""
    n_links: int
    """How many links of non-zero mass there are without limits."""
    drawn: float
    """Σ|mass of drawn links| over Σ|mass of all links|, all rows counted."""
    drawn_in_rows: float
    """The same within the rows that were asked for."""
    cut: Mapping[str, float]
    """What each limit took of Σ|all|: "rows", "attention" (top_k, min_weight), "mass" (min_mass), "count" (max_…)."""
    hidden: float
    """Share of all attention mass, in absolute size, that the attention sinks of its layer take, set aside or not."""
    conservation: float
    """Largest |1 − Σ of a full cut|."""
    sources: Float[Array, " T"]
    """Mass that reaches row 0 at each position, drawn or not."""
    lost: Float[Array, " 5"]
    """Mass that ends in terminals: sink, bias, hidden, undefined, intervention, in that order; drawn or not."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done to attention to the sinks of each layer."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        nodes, links = self.node_mass.shape, self.link_mass.shape
        readings = (self.reading_ids.shape, self.reading_ids.shape[:1])
        of_node = ("node_kind", "node_row", "node_position", "node_reading", "node_difference")
        check_shapes(self, **{n: (getattr(self, n), nodes) for n in of_node})
        of_link = ("link_source", "link_target", "link_kind", "link_share", "link_kl", "link_difference")
        check_shapes(self, **{n: (getattr(self, n), links) for n in of_link})
        check_shapes(self, reading_numbers=(self.reading_numbers, readings[0]))
        check_shapes(self, reading_unit=(self.reading_unit, readings[1]))
        check_shapes(self, sources=(self.sources, (len(self.tokens),)), lost=(self.lost, (5,)))

    def _summary(self) -> tuple[str, ...]:
        return (
            f"{len(self.node_mass)} nodes, {len(self.link_mass)} links",
            f"row {self.row}",
            f"measure {self.measure.value}",
            self.model,
        )

    @property
    def signed(self) -> bool:
        """Whether masses may be negative."""
        return self.measure is ShareMeasure.PROJECTION or self.attention is AttentionDivision.PROJECTION

    @property
    def node_id(self) -> list[str]:
        """Names of the nodes, the same in every flow of this trace: `block.3.7`, and of terminals `sink.3`."""
        return node_ids(self.node_kind, self.node_row, self.node_position)

    @property
    def nodes(self) -> pd.DataFrame:
        """The nodes as a table: id, kind, row, position, mass."""
        import pandas as pd

        return pd.DataFrame(
            {
                "id": self.node_id,
                "kind": self.node_kind,
                "row": self.node_row,
                "position": self.node_position,
                "mass": self.node_mass,
            }
        )

    @property
    def links(self) -> pd.DataFrame:
        """The links as a table: source, target (ids of nodes), kind, share, mass, kl."""
        import pandas as pd

        ids = np.array(self.node_id, dtype=object)
        return pd.DataFrame(
            {
                "source": ids[self.link_source],
                "target": ids[self.link_target],
                "kind": self.link_kind,
                "share": self.link_share,
                "mass": self.link_mass,
                "kl": self.link_kl,
            }
        )


@dataclass(frozen=True, repr=False)
class Disagreement(Record):
    """Links whose places differ most between two ways to share out one flow (docs/methods.md §6).

    n links, the largest distance first. A place is a link's rank by |mass|, from 1, among all that either way draws.
    """

    trace: str
    """The trace that it was read from, by its id."""
    n_layers: int
    """L, how many layers the model has."""
    row: int
    """Heatmap row where the mass enters."""
    starts: Int[Array, " S"]
    """The positions where it enters."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    measures: tuple[ShareMeasure, ShareMeasure]
    """How each way measures the shares of a sum's parts."""
    divisions: tuple[AttentionDivision, AttentionDivision]
    """How each way divides attention over its sources."""
    source: Array
    """Each link's source: the name of a node, as in Flow."""
    target: Array
    """Its target: the name of a node."""
    kind: Array
    """What each link is: text, a LinkKind."""
    first_mass: Float[Array, " n"]
    """Its mass in the first way."""
    second_mass: Float[Array, " n"]
    """Its mass in the second way."""
    first_place: Int[Array, " n"]
    """Its place in the first way."""
    second_place: Int[Array, " n"]
    """Its place in the second way."""
    distance: Float[Array, " n"]
    """|log₂(first_place / second_place)|."""
    agreement: float
    """Spearman's correlation of all places; NaN for fewer than 2 links."""
    n_links: int
    """How many links either way draws."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done to attention to the sinks of each layer."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        names = ("source", "target", "kind", "first_mass", "second_mass", "first_place", "second_place")
        check_shapes(self, **{n: (getattr(self, n), self.distance.shape) for n in names})

    def _summary(self) -> tuple[str, ...]:
        return (
            f"{len(self.distance)} of {self.n_links} links",
            f"{self.measures[0].value} against {self.measures[1].value}",
            f"row {self.row}",
        )


@dataclass(frozen=True, repr=False)
class HeadShares(Record):
    """How the attention of one cell divides over heads and source positions (docs/methods.md §5).

    `shares`, `sink`, `bias` and `intervention` sum to 1, NaN where undefined. In the joint form `residual` is a part
    too, and in a parallel block `mlp`; else both are NaN.
    """

    trace: str
    """The trace that it was read from, by its id."""
    n_layers: int
    """L, how many layers the model has."""
    row: int
    """Heatmap row of the cell."""
    position: int
    """Position of the cell in the text."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    attention: AttentionDivision | None
    """How attention is divided, or None for the joint form."""
    shares: Float[Array, "H T"]
    """Share of each head and source position."""
    sink: Float[Array, " H"]
    """Share of each head's learned sink."""
    bias: float
    """Share of the output bias."""
    residual: float
    """Share of the stream, in the joint form."""
    mlp: float
    """Share of the MLP, in the joint form of a parallel block."""
    intervention: float = 0.0
    """Share of what an edit wrote in a head's place."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        check_shapes(self, sink=(self.sink, self.shares.shape[:1]))

    def _summary(self) -> tuple[str, ...]:
        return (f"row {self.row}, position {self.position}", f"{len(self.shares)} heads")

    @property
    def joint(self) -> bool:
        """Whether the parts are every (head, source) and the residual."""
        return self.attention is None

    @property
    def heads(self) -> Float[Array, " H"]:
        """The share of each head over all sources."""
        total: np.ndarray = self.shares.sum(1) + self.sink
        return total

    @property
    def sources(self) -> Float[Array, " T"]:
        """The share of each source position over all heads."""
        total: np.ndarray = self.shares.sum(0)
        return total
