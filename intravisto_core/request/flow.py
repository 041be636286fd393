"""What can be asked about where a prediction comes from (docs/methods.md §5, §6)."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import Attribution, ContributionGraph, Disagreement, Explanation, Flow, HeadShares, Route
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Selection, TokenChoice, TraceId, check, check_whole, set_fields
from intravisto_core.request.fields import read_whole_number
from intravisto_core.sites import AttentionDivision, Reading, Refinement, ShareMeasure, SinkHandling

MOST_NODES = 800
MOST_LINKS = 2000
GENERATED = "generated"
FLOW_MEASURE = ShareMeasure.L1
FLOW_DIVISION = AttentionDivision.VALUE_WEIGHTED


def read_position(value: Any, name: str) -> int | str:
    """One position, or all those that say a generated token."""
    if isinstance(value, str) and value == GENERATED:
        return value
    try:
        return read_whole_number(value, name)
    except RequestError:
        raise RequestError(expected(name, f'a whole number or "{GENERATED}"', value)) from None


Position = Annotated[int | str, read_position]


def _check_share(value: float, name: str) -> None:
    check(0 <= value <= 1, name, "a number from 0 to 1", value)


@frozen_request
class FlowView(View[Flow]):
    """Mass 1 from one cell, or from all positions that say a generated token, handed down to row 0.

    row: 1 to L+1; None is L+1, the final norm. position: of the cell, negatives count from the end; "generated": every
    position that says a generated token, with equal mass. measure: shares where parts join. attention: how attention's
    part divides over source positions. rows: heatmap rows whose nodes are drawn; None is all.
    top_k: attention links drawn at most for each attention node; None is all, 0 none. min_weight: least |share| of a
    drawn attention link. min_mass: least |mass| of a drawn link. max_nodes, max_links: the largest are drawn.
    sinks: what becomes of attention to the layer's sinks: `show`, `hide` (it ends in the terminal *hidden*), or
    `renormalise` (the rest of a query's attention makes up for it). details: also KL and decoded differences of drawn
    links, and the tokens of drawn nodes.
    reading: of the nodes, `top` or `iterative`.
    """

    trace: TraceId
    row: int | None = None
    position: Position = -1
    measure: ShareMeasure = FLOW_MEASURE
    attention: AttentionDivision = FLOW_DIVISION
    rows: Selection = None
    top_k: int | None = None
    min_mass: float = 1e-4
    min_weight: float = 0.0
    sinks: SinkHandling = SinkHandling.SHOW
    reading: Reading = Reading.TOP
    details: bool = True
    max_nodes: int | None = MOST_NODES
    max_links: int | None = MOST_LINKS

    def __post_init__(self) -> None:
        _check_share(self.min_mass, "min_mass")
        _check_share(self.min_weight, "min_weight")
        check(self.reading is not Reading.DIFFERENCE, "reading", "top or iterative", self.reading)
        for name, least in (("top_k", 0), ("max_nodes", 1), ("max_links", 1)):
            check_whole(getattr(self, name), name, least, allowed=f"a whole number from {least}, or None")


@frozen_request
class DisagreementView(View[Disagreement]):
    """Links of one flow whose places differ most between two ways to share it out.

    The options up to `attention`, `rows`, `min_mass` and `sinks` are FlowView's. other_measure, other_attention: the
    second way; other_attention None is the same division. n: how many links are listed.
    """

    trace: TraceId
    row: int | None = None
    position: Position = -1
    measure: ShareMeasure = FLOW_MEASURE
    attention: AttentionDivision = FLOW_DIVISION
    other_measure: ShareMeasure = ShareMeasure.PROJECTION
    other_attention: AttentionDivision | None = None
    rows: Selection = None
    min_mass: float = 1e-3
    sinks: SinkHandling = SinkHandling.SHOW
    n: int = 30

    def __post_init__(self) -> None:
        set_fields(self, other_attention=self.other_attention or self.attention)
        _check_share(self.min_mass, "min_mass")
        check_whole(self.n, "n", 1)
        same = (self.measure, self.attention) == (self.other_measure, self.other_attention)
        check(not same, "other_measure", "another measure or another division than the first", self.other_measure)


@frozen_request
class HeadSharesView(View[HeadShares]):
    """How the attention of one cell divides over its heads and source positions.

    row: 1 to L. joint: instead of the division, shares in the joint L1 form, whose parts are every (head, source) and
    the residual (in a parallel block also the MLP).
    """

    trace: TraceId
    row: int
    position: int
    attention: AttentionDivision = AttentionDivision.WEIGHTS
    joint: bool = False


@frozen_request
class GraphView(View[ContributionGraph]):
    """The contribution-threshold graph: nodes token × row, edges whose share in the joint L1 form is large enough.

    row, position: where it starts, as in FlowView (row 1 to L; None and L+1 are L). threshold: least share of an edge.
    rows: lowest to highest row that is drawn; None is all. sinks: `hide` leaves out steps from the layer's attention
    sinks; `renormalise` also divides the shares that are left by their sum. details: also the token of each node.
    """

    trace: TraceId
    row: int | None = None
    position: Position = -1
    threshold: float = 0.04
    rows: Selection = None
    sinks: SinkHandling = SinkHandling.SHOW
    details: bool = True

    def __post_init__(self) -> None:
        _check_share(self.threshold, "threshold")


@frozen_request
class RouteView(View[Route]):
    """Where each generated token came from: sources, layers and heads of the flow from the position that says it."""

    trace: TraceId
    measure: ShareMeasure = FLOW_MEASURE
    attention: AttentionDivision = FLOW_DIVISION
    sinks: SinkHandling = SinkHandling.SHOW


@frozen_request
class AttributionView(View[Attribution]):
    """Direct logit attribution of a target token against a contrast at one position.

    target, contrast: a text (its first token counts) or a token id. target None: the model's own top token. contrast
    None: the mean over the vocabulary. by: how finely the final stream is cut. n: how many neurons are listed, the
    largest first, the rest of each layer as one part; None lists all. layer: only this layer is refined; None is all.
    """

    trace: TraceId
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int = -1
    by: Refinement = Refinement.COMPONENTS
    layer: int | None = None
    n: int | None = 100

    def __post_init__(self) -> None:
        check_whole(self.n, "n", 0, allowed="a whole number from 0, or None for all")


@frozen_request
class ExplainView(View[Explanation]):
    """Where a token comes from: which words it uses, when it comes up, who adds to it (docs/methods.md §6).

    target, contrast: as in AttributionView; without a contrast the target stands alone, held against the mean over the
    vocabulary. position: the one that says the token; None is the last one of the prompt, negatives count from the end
    of the text. tests: also run the model without the largest parts and with single words hidden.
    """

    trace: TraceId
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int | None = None
    tests: bool = True


FlowRequest = FlowView | DisagreementView | HeadSharesView | GraphView | RouteView | AttributionView | ExplainView
