"""What can be asked of a trace."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from intravisto_core.records import (
    Activation,
    CellShares,
    DecodedGrid,
    Experts,
    Logits,
    ModuleValue,
    NextTokens,
    Pattern,
    Shares,
    Sinks,
    TokenQuery,
    UpdateTokens,
)
from intravisto_core.request.architecture import ArchitectureView, ModuleOutputView
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import Selection, TraceId, check, check_whole, read_token, read_tokens, set_fields
from intravisto_core.request.flow import FlowRequest
from intravisto_core.request.layer import LayerRequest
from intravisto_core.request.modules import ModulePath, split_path
from intravisto_core.request.run import Generation
from intravisto_core.sites import Component, Lens, ModuleSide, NormPolicy, Reading, ShareMeasure, Site, TokenOrder

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
    texts (the first token of each) or token ids. ranks: whether the places of watched tokens among all are counted;
    without them their logits and probabilities cost next to nothing where cells are decoded already, and a rank is 0.
    order: how the tokens of updates are put in order, which are listed with their change of logit either way.
    first: positions that are decoded first; the others follow by their distance from these. within: seconds; the record
    has the columns that are decoded by then, at least one tile more than before; None waits for all.
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
    ranks: bool = True
    order: TokenOrder = TokenOrder.LOGIT
    first: Selection = None
    within: float | None = None

    def __post_init__(self) -> None:
        check_whole(self.top_k, "top_k", 1, TOP_K_KEPT)
        if self.within is not None:
            check(self.within >= 0, "within", "seconds from 0, or None to wait for all columns", self.within)


@frozen_request
class SharesView(View[Shares]):
    """Shares of attention and MLP at every junction of the trace (docs/methods.md §5)."""

    trace: TraceId
    measure: ShareMeasure = ShareMeasure.NORM


@frozen_request
class ActivationView(View[Activation]):
    """One site of one layer, one head of it where the site has heads.

    step: only the positions of one step: 0 is the prompt, n the position that reads generated token n − 1.
    """

    trace: TraceId
    site: Site
    layer: int
    head: int | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        check_whole(self.step, "step", 0)


@frozen_request
class ModuleView(View[ModuleValue]):
    """What a run kept of one module of the model's tree (see `TraceRequest.modules`).

    path: as in the request; it may end with its side (`:input`). what: "output", or "input".
    """

    trace: TraceId
    path: ModulePath
    what: ModuleSide = ModuleSide.OUTPUT

    def __post_init__(self) -> None:
        path, side = split_path(self.path)
        set_fields(self, path=path, what=self.what if side is ModuleSide.OUTPUT else side)


@frozen_request
class PatternView(View[Pattern]):
    """The attention pattern of one head, recomputed from q and k."""

    trace: TraceId
    layer: int
    head: int


@frozen_request
class SinksView(View[Sinks]):
    """Which positions of each layer are attention sinks, and what decided (docs/methods.md §5)."""

    trace: TraceId


@frozen_request
class ExpertsView(View[Experts]):
    """Which experts of a layer each position went to; expert: whose neurons to give too."""

    trace: TraceId
    layer: int
    expert: int | None = None


@frozen_request
class LogitsView(View[Logits]):
    """All logits after one position: the model's own, or with a row those of that cell of the heatmap.

    position: negatives count from the end of the text. row: heatmap row, 0 to L+1; negatives count from the last.
    component, lens, norm: as in HeatmapView, of a cell. Under the stream policy they are changes of logit.
    """

    trace: TraceId
    position: int = -1
    row: int | None = None
    component: Component = Component.BLOCK
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None

    def __post_init__(self) -> None:
        plain = self.component is Component.BLOCK and self.lens is Lens.OUTPUT and self.norm is None
        check(plain or self.row is not None, "row", "a heatmap row, since component, lens or norm is set", self.row)


@frozen_request
class UpdateView(View[UpdateTokens]):
    """What attention or MLP promoted and suppressed at one cell, with ranks before and after.

    row: 1 to L. n: how many tokens each way, 1 to 32. order: how they are put in order.
    """

    trace: TraceId
    component: Component
    row: int
    position: int
    n: int = 15
    order: TokenOrder = TokenOrder.LOGIT

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

    token: a text, whose first token is meant, or a token id. ranks: whether all places are counted; without them a rank
    is 0 below the 32 that are listed, and nothing is computed of cells that are decoded already.
    """

    trace: TraceId
    token: Annotated[str | int, read_token]
    top_k: int = 5
    positions: Selection = None
    ranks: bool = True

    def __post_init__(self) -> None:
        check_whole(self.top_k, "top_k", 1)


ViewRequest = (
    HeatmapView
    | SharesView
    | ActivationView
    | ModuleView
    | PatternView
    | SinksView
    | ExpertsView
    | LogitsView
    | UpdateView
    | CellSharesView
    | NextTokensView
    | QueryView
    | ArchitectureView
    | ModuleOutputView
    | FlowRequest
    | LayerRequest
)
