"""What can be asked of a trace."""

from __future__ import annotations

from dataclasses import field

from intravisto_core.records import (
    Activation,
    AttentionSink,
    CellShares,
    DecodedGrid,
    Experts,
    Logits,
    NextTokens,
    Pattern,
    Shares,
    TokenQuery,
    UpdateTokens,
)
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Selection, check, followed, is_whole, put, selection
from intravisto_core.request.flow import FlowRequest
from intravisto_core.request.run import Generation
from intravisto_core.sites import Component, Lens, NormPolicy, Reading, ShareMeasure, Site

TOP_K_KEPT = 32


@frozen_request
class HeatmapView(View[DecodedGrid]):
    """A grid of decoded cells: rows of the model against positions of the text (docs/methods.md §1, §3, §4).

    rows: heatmap rows 0 to L+1; positions: 0 to T-1; None is all, negatives count from the end.
    norm: None takes the default of docs/methods.md §3. top_k: 1 to 32. watch: what is followed,
    texts (the first token of each) or token ids.
    """

    trace: str
    component: Component = Component.BLOCK
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None
    rows: Selection = None
    positions: Selection = None
    top_k: int = 5
    watch: tuple[str | int, ...] = ()
    reading: Reading = Reading.TOP

    def __post_init__(self) -> None:
        put(
            self,
            component=Component.parse(self.component, "component"),
            lens=Lens.parse(self.lens, "lens"),
            norm=None if self.norm is None else NormPolicy.parse(self.norm, "norm"),
            reading=Reading.parse(self.reading, "reading"),
            rows=selection(self.rows, "rows"),
            positions=selection(self.positions, "positions"),
            watch=followed(self.watch),
        )
        k = self.top_k
        check(is_whole(k, 1, TOP_K_KEPT), "top_k", f"1 to {TOP_K_KEPT}", k)


@frozen_request
class SharesView(View[Shares]):
    """Shares of attention and MLP at every junction of the trace (docs/methods.md §5)."""

    trace: str
    measure: ShareMeasure = ShareMeasure.NORM

    def __post_init__(self) -> None:
        put(self, measure=ShareMeasure.parse(self.measure, "measure"))


@frozen_request
class ActivationView(View[Activation]):
    """One site of one layer, one head of it where the site has heads."""

    trace: str
    site: Site
    layer: int
    head: int | None = None

    def __post_init__(self) -> None:
        put(self, site=Site.parse(self.site, "site"))


@frozen_request
class PatternView(View[Pattern]):
    """The attention pattern of one head, recomputed from q and k."""

    trace: str
    layer: int
    head: int


@frozen_request
class AttentionSinkView(View[AttentionSink]):
    """How much of all attention goes to position 0, and to learned sinks (docs/methods.md §5)."""

    trace: str


@frozen_request
class ExpertsView(View[Experts]):
    """Which experts of a layer each position went to; expert: whose neurons to give too."""

    trace: str
    layer: int
    expert: int | None = None


@frozen_request
class LogitsView(View[Logits]):
    """The model's own logits after one position; negatives count from the end of the text."""

    trace: str
    position: int = -1


@frozen_request
class UpdateView(View[UpdateTokens]):
    """What attention or MLP promoted and suppressed at one cell, with ranks before and after.

    row: 1 to L. n: how many tokens each way, 1 to 32.
    """

    trace: str
    component: Component
    row: int
    position: int
    n: int = 15

    def __post_init__(self) -> None:
        component = Component.parse(self.component, "component")
        updates = (Component.ATTENTION, Component.MLP)
        check(component in updates, "component", "attention or mlp, which write to the stream", str(component))
        check(is_whole(self.n, 1, TOP_K_KEPT), "n", f"1 to {TOP_K_KEPT}", self.n)
        put(self, component=component)


@frozen_request
class CellSharesView(View[CellShares]):
    """Shares at one cell (row 1 to L) under every measure."""

    trace: str
    row: int
    position: int


@frozen_request
class NextTokensView(View[NextTokens]):
    """The next-token distribution after a position, and what a sampler would make of it, without running the model.

    sampling: temperature, top_k and top_p; without a temperature nothing is changed. n: how many tokens are listed.
    """

    trace: str
    position: int = -1
    sampling: Generation = field(default_factory=Generation)
    n: int = 20

    def __post_init__(self) -> None:
        check(is_whole(self.n, 1, 2**31), "n", "a whole number from 1", self.n)
        check(isinstance(self.sampling, Generation), "sampling", "a Generation", self.sampling)


@frozen_request
class QueryView(View[TokenQuery]):
    """Where a token first enters the top k of the stream (output lens, final norm), and what wrote it there.

    token: a text, whose first token is meant, or a token id.
    """

    trace: str
    token: str | int
    top_k: int = 5
    positions: Selection = None

    def __post_init__(self) -> None:
        check(is_whole(self.top_k, 1, 2**31), "top_k", "a whole number from 1", self.top_k)
        put(self, positions=selection(self.positions, "positions"))


ViewRequest = (
    HeatmapView
    | SharesView
    | ActivationView
    | PatternView
    | AttentionSinkView
    | ExpertsView
    | LogitsView
    | UpdateView
    | CellSharesView
    | NextTokensView
    | QueryView
    | FlowRequest
)
