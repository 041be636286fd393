"""Where a prediction comes from: the flow, what two measures disagree about, and one attention node's heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import AttentionDivision, Reading, ShareMeasure

if TYPE_CHECKING:
    import pandas as pd


def node_ids(kinds: Iterable[object], rows: Array, positions: Array) -> list[str]:
    """Names of flow nodes, the same in every flow of a trace: `mid.3.7`; a terminal is of a row only: `sink.3`."""
    return [
        f"{kind}.{row}" if position < 0 else f"{kind}.{row}.{position}"
        for kind, row, position in zip(kinds, rows.tolist(), positions.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class Flow(Record):
    """Mass 1 handed down from one cell or from all positions that say a generated token (docs/methods.md §6).

    row: where the mass enters, L+1 for the final norm. starts: (S,) the positions where it enters, 1/S each.
    measure, attention: how shares were told. rows: (R,) heatmap rows that were asked for. tokens: of all T positions.

    Nodes, N of them, from the top row down: node_kind: (N,) text, a NodeKind. node_row: heatmap row; a terminal has the
    row of the junction that hands to it. node_position: −1 for terminals, which are one a kind and row. node_mass: all
    mass through the node, drawn or not; signed under the projection. node_reading: (N,) the reading of the node's own
    vector, −1 for none (terminals). node_difference: what changed since the row below, −1 for none.

    Links, M of them, the largest |mass| first: link_source, link_target: (M,) indices of nodes; information goes from
    the source, which is the lower one, to the target. link_kind: (M,) text, a LinkKind. link_share: of the target's
    mass, signed under the projection. link_mass: share times the target's mass. link_kl: KL(target ‖ source) in nats
    under the output lens, NaN at terminals and without details. link_difference: decoded difference target − source,
    −1 for none: only links between two states of the stream have one.

    Readings, Q of them: reading_ids: (Q, k) token ids, −1 where nothing more. reading_numbers: (Q, k). reading_unit:
    (Q,) text: "probability"; "change" of logit, of updates and differences; "coefficient" of the iterative reading.
    shown: each token id as text.

    n_nodes, n_links: how many there are without limits, of non-zero mass. drawn: Σ|mass of drawn links| over Σ|all
    links|, all rows counted. drawn_in_rows: the same within the rows asked for. cut: what each limit took of Σ|all|, by
    "rows", "attention" (top_k, min_weight), "mass" (min_mass), "count" (max_nodes, max_links). hidden: share of all
    attention mass (in absolute size) that position 0 takes, hidden or not. conservation: largest |1 − Σ of a full cut|.
    notes: sentences that the reader must know.
    """

    trace: str
    model: str
    n_layers: int
    block: str
    prompt_length: int
    tokens: tuple[Token, ...]
    row: int
    starts: Int[Array, " S"]
    measure: ShareMeasure
    attention: AttentionDivision
    reading: Reading
    rows: Int[Array, " R"]
    node_kind: Array
    node_row: Int[Array, " N"]
    node_position: Int[Array, " N"]
    node_mass: Float[Array, " N"]
    node_reading: Int[Array, " N"]
    node_difference: Int[Array, " N"]
    link_source: Int[Array, " M"]
    link_target: Int[Array, " M"]
    link_kind: Array
    link_share: Float[Array, " M"]
    link_mass: Float[Array, " M"]
    link_kl: Float[Array, " M"]
    link_difference: Int[Array, " M"]
    reading_ids: Int[Array, "Q k"]
    reading_numbers: Float[Array, "Q k"]
    reading_unit: Array
    shown: Mapping[int, str]
    n_nodes: int
    n_links: int
    drawn: float
    drawn_in_rows: float
    cut: Mapping[str, float]
    hidden: float
    conservation: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        nodes, links = self.node_mass.shape, self.link_mass.shape
        readings = (self.reading_ids.shape, self.reading_ids.shape[:1])
        of_node = ("node_kind", "node_row", "node_position", "node_reading", "node_difference")
        check_shapes(self, **{n: (getattr(self, n), nodes) for n in of_node})
        of_link = ("link_source", "link_target", "link_kind", "link_share", "link_kl", "link_difference")
        check_shapes(self, **{n: (getattr(self, n), links) for n in of_link})
        check_shapes(self, reading_numbers=(self.reading_numbers, readings[0]))
        check_shapes(self, reading_unit=(self.reading_unit, readings[1]))

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


@dataclass(frozen=True)
class Disagreement(Record):
    """Links whose places differ most between two ways to share out one flow (docs/methods.md §6).

    source, target: (n,) ids of nodes, as in Flow. kind: (n,) text, a LinkKind. first_mass, second_mass: (n,) the
    link's mass in each way. first_place, second_place: (n,) its place by |mass|, from 1, among the `n_links` links that
    either way draws. distance: (n,) |log₂(first_place / second_place)|, the largest first. agreement: Spearman's
    correlation of all places, NaN for fewer than 2 links.
    """

    trace: str
    n_layers: int
    row: int
    starts: Int[Array, " S"]
    tokens: tuple[Token, ...]
    measures: tuple[ShareMeasure, ShareMeasure]
    divisions: tuple[AttentionDivision, AttentionDivision]
    source: Array
    target: Array
    kind: Array
    first_mass: Float[Array, " n"]
    second_mass: Float[Array, " n"]
    first_place: Int[Array, " n"]
    second_place: Int[Array, " n"]
    distance: Float[Array, " n"]
    agreement: float
    n_links: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = ("source", "target", "kind", "first_mass", "second_mass", "first_place", "second_place")
        check_shapes(self, **{n: (getattr(self, n), self.distance.shape) for n in names})


@dataclass(frozen=True)
class HeadShares(Record):
    """How the attention of one cell divides over heads and source positions (docs/methods.md §5).

    shares: (H, T) of head and source; with `sink` (H,), the learned sinks, `bias` and `intervention`, what an edit
    wrote in a head's place, they sum to 1 (NaN where undefined). In the joint form also `residual`, and in a parallel
    block `mlp`, are parts; else both are NaN.
    attention: what the shares are of; None in the joint form.
    """

    trace: str
    n_layers: int
    row: int
    position: int
    tokens: tuple[Token, ...]
    attention: AttentionDivision | None
    shares: Float[Array, "H T"]
    sink: Float[Array, " H"]
    bias: float
    residual: float
    mlp: float
    intervention: float = 0.0

    def __post_init__(self) -> None:
        check_shapes(self, sink=(self.sink, self.shares.shape[:1]))

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
