"""What can be asked of a trace."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

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
from intravisto_core.request.checks import Selection, TraceId, check, check_whole, read_token, read_tokens
from intravisto_core.request.flow import FlowRequest
from intravisto_core.request.run import Generation
from intravisto_core.sites import Component, Lens, NormPolicy, Reading, ShareMeasure, Site

TOP_K_KEPT = 32


def default_norm(component: Component, lens: Lens, reading: Reading) -> NormPolicy:
    """The norm policy where none is asked for (docs/methods.md §3): updates at the stream's scale, states final."""
    if component in (Component.ATTENTION, Component.MLP) or reading is Reading.DIFFERENCE:
        return NormPolicy.STREAM
    return NormPolicy.NORM_ONLY if lens is Lens.INPUT else NormPolicy.FINAL


@frozen_request
class HeatmapView(View[DecodedGrid]):
    """A grid of decoded cells: rows of the model against positions of the text (docs/methods.md §1, §3, §4).

    rows: heatmap rows 0 to L+1; positions: 0 to T-1; None is all, negatives count from the end.
    norm: None takes the default of docs/methods.md §3. top_k: 1 to 32. watch: what is followed,
    texts (the first token of each) or token ids.
    """

    trace: TraceId
    component: Component = Component.BLOCK
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None
    rows: Selection = None
    positions: Selection = None
    top_k: int = 5
    watch: Annotated[tuple[str | int, ...], read_tokens] = ()
    reading: Reading = Reading.TOP

    def __post_init__(self) -> None:
        check_whole(self.top_k, "top_k", 1, TOP_K_KEPT)


@frozen_request
class SharesView(View[Shares]):
    """Shares of attention and MLP at every junction of the trace (docs/methods.md §5)."""

    trace: TraceId
    measure: ShareMeasure = ShareMeasure.NORM


@frozen_request
class ActivationView(View[Activation]):
    """One site of one layer, one head of it where the site has heads."""

    trace: TraceId
    site: Site
    layer: int
    head: int | None = None


@frozen_request
class PatternView(View[Pattern]):
    """The attention pattern of one head, recomputed from q and k."""

    trace: TraceId
    layer: int
    head: int


@frozen_request
class AttentionSinkView(View[AttentionSink]):
    """How much of all attention goes to position 0, and to learned sinks (docs/methods.md §5)."""

    trace: TraceId


@frozen_request
class ExpertsView(View[Experts]):
    """Which experts of a layer each position went to; expert: whose neurons to give too."""

    trace: TraceId
    layer: int
    expert: int | None = None


@frozen_request
class LogitsView(View[Logits]):
    """The model's own logits after one position; negatives count from the end of the text."""

    trace: TraceId
    position: int = -1


@frozen_request
class UpdateView(View[UpdateTokens]):
    """What attention or MLP promoted and suppressed at one cell, with ranks before and after.

    row: 1 to L. n: how many tokens each way, 1 to 32.
    """

    trace: TraceId
    component: Component
    row: int
    position: int
    n: int = 15

    def __post_init__(self) -> None:
        writers = (Component.ATTENTION, Component.MLP)
        check(self.component in writers, "component", "attention or mlp, which write to the stream", self.component)
        check_whole(self.n, "n", 1, TOP_K_KEPT)


@frozen_request
class CellSharesView(View[CellShares]):
    """Shares at one cell (row 1 to L) under every measure."""

    trace: TraceId
    row: int
    position: int


@frozen_request
class NextTokensView(View[NextTokens]):
    """The next-token distribution after a position, and what a sampler would make of it, without running the model.

    sampling: temperature, top_k and top_p; without a temperature nothing is changed. n: how many tokens are listed.
    """

    trace: TraceId
    position: int = -1
    sampling: Generation = field(default_factory=Generation)
    n: int = 20

    def __post_init__(self) -> None:
        check_whole(self.n, "n", 1)


@frozen_request
class QueryView(View[TokenQuery]):
    """Where a token first enters the top k of the stream (output lens, final norm), and what wrote it there.

    token: a text, whose first token is meant, or a token id.
    """

    trace: TraceId
    token: Annotated[str | int, read_token]
    top_k: int = 5
    positions: Selection = None

    def __post_init__(self) -> None:
        check_whole(self.top_k, "top_k", 1)


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
