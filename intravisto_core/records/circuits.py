"""How well a set of heads and MLPs does a task without the rest (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Int

from intravisto_core.errors import TraceError, expected
from intravisto_core.records.base import Array, Record, check_shapes, find_figures
from intravisto_core.sites import Ranking

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Circuit(Record):
    """A set of heads and MLPs kept, the rest of the model taken from a counterfactual prompt, over P pairs.

    N = L (H + 1) heads and MLPs, layer by layer, the MLP after the heads. The metric m is the target's logit less the
    contrast's at the last position. Faithfulness f of a set C: `(m(C) − m(∅)) / (m(M) − m(∅))`, means over the pairs;
    m(M) is the prompt's own run, m(∅) the counterfactual's.
    """

    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    n_heads: int
    """H, query heads a layer."""
    by: Ranking
    """How the parts are ranked."""
    layer: Int[Array, " N"]
    """Layer of each head and MLP."""
    head: Int[Array, " N"]
    """Its head; −1 is the MLP."""
    scores: Float[Array, " N"]
    """What the ranking gives it: how much m loses, in logits, where it comes from the counterfactual; a mean."""
    kept: Bool[Array, " N"]
    """Whether it is in the circuit."""
    chosen: bool
    """Whether the circuit was given; else it is the smallest set on the curve that keeps 80 %."""
    prompts: tuple[str, ...]
    """The P prompts as text."""
    counterfactuals: tuple[str, ...]
    """Their counterfactual prompts."""
    targets: tuple[int, ...]
    """Token id of the target of each pair."""
    contrasts: tuple[int, ...]
    """Token id of the contrast of each pair."""
    shown: Mapping[int, str]
    """These tokens as text, by id."""
    clean: Float[Array, " P"]
    """m of each prompt's own run, logits."""
    corrupt: Float[Array, " P"]
    """m of each counterfactual run, logits."""
    shares: Float[Array, " K"]
    """Shares of all parts at which the curve is measured."""
    sizes: Int[Array, " K"]
    """How many parts that are."""
    faithfulness: Float[Array, " K"]
    """f of the parts of largest score."""
    faithfulness_interval: Float[Array, "2 K"]
    """Its 95 % interval over the pairs; NaN for one pair."""
    faithfulness_by_size: Float[Array, " K"]
    """f of the parts of largest |score|."""
    cpr: float
    """∫ f over the share of parts kept, 0 to 1, by the trapezoid rule, parts ordered by score."""
    cpr_interval: tuple[float, float]
    """Its 95 % interval."""
    cmd: float
    """∫ |1 − f| likewise, parts ordered by |score|."""
    cmd_interval: tuple[float, float]
    """Its 95 % interval."""
    own: float
    """f of the circuit."""
    own_interval: tuple[float, float]
    """Its 95 % interval."""
    removed: float
    """f of the model without the circuit: all other parts kept, those of the circuit from the counterfactual."""
    removed_interval: tuple[float, float]
    """Its 95 % interval."""
    completeness: float
    """Mean of |f(C∖K) − f(M∖K)| over random halves K of the circuit C, M being all parts; 0 is complete."""
    completeness_interval: tuple[float, float]
    """Its 95 % interval."""
    minimality: Float[Array, " N"]
    """f(C) − f(C without this part), of parts in the circuit; NaN of others, and of those beyond the 64 largest."""
    minimality_interval: Float[Array, "2 N"]
    """Its 95 % interval."""
    edges: Float[Array, "S V"] | None = None
    """Of EAP-IG: score of the edge from each source to each reader, 0 where there is none; else None."""
    sources: tuple[str, ...] = ()
    """The S sources of edges: "embedding", then heads and MLPs."""
    readers: tuple[str, ...] = ()
    """The V readers of edges: queries of each head, keys and values of each kv head, MLPs, "logits"."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        n, k, p = len(self.layer), len(self.shares), len(self.prompts)
        for name in ("head", "scores", "kept", "minimality"):
            check_shapes(self, **{name: (getattr(self, name), (n,))})
        check_shapes(self, clean=(self.clean, (p,)), corrupt=(self.corrupt, (p,)))
        for name in ("sizes", "faithfulness", "faithfulness_by_size"):
            check_shapes(self, **{name: (getattr(self, name), (k,))})
        check_shapes(self, edges=(self.edges, (len(self.sources), len(self.readers))))
        if n != self.n_layers * (self.n_heads + 1):
            raise TraceError(expected("Circuit.layer", f"{self.n_layers} × ({self.n_heads} + 1) parts", n))

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """The parts that are kept, as (layer, head); head −1 is the MLP."""
        return tuple(zip(self.layer[self.kept].tolist(), self.head[self.kept].tolist(), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """What all N parts are called: `L3H2`, `L5 MLP`."""
        both = zip(self.layer.tolist(), self.head.tolist(), strict=True)
        return tuple(f"L{layer} MLP" if head < 0 else f"L{layer}H{head}" for layer, head in both)

    def edge_frame(self, most: int = 200) -> pd.DataFrame:
        """The edges of largest |score|: source, reader, score.

        Raises:
            TraceError: the ranking is not by edges.
        """
        if self.edges is None:
            raise TraceError(expected("edges", f"a circuit by {Ranking.EAP_IG}", str(self.by)))
        found: pd.DataFrame = find_figures("circuits").frame_edges(self, most)
        return found

    def _summary(self) -> tuple[str, ...]:
        return (f"{int(self.kept.sum())} of {len(self.layer)} parts", f"CPR {self.cpr:.2f}", str(self.by), self.model)
