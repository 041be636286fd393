"""Patching: one prompt run with values of another, place by place, or along one way alone (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from intravisto_core.engine.jobs.patching_grid import GrowingGrid
from intravisto_core.engine.jobs.patching_pairs import PairRuns
from intravisto_core.errors import Cancelled, RequestError, expected
from intravisto_core.experiments.patch_cells import Cell
from intravisto_core.experiments.patch_runs import Exchange
from intravisto_core.experiments.path_runs import PathEnd, PathExchange
from intravisto_core.progress import Progress
from intravisto_core.records import PatchGrid
from intravisto_core.request import PatchingRequest, PathPatchingRequest
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Site
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.tracing.operands import require_site


def run_patching(
    traces: Traces, request: PatchingRequest, session: str, control: RunControl
) -> Generator[Progress, None, PatchGrid]:
    """The grid, cell by cell; a cancel leaves the cells made so far.

    Raises:
        RequestError: prompts that cannot be aligned, a token or a place that there is not.
        ModelError: an identity that the site needs is missing, or the model's code does not let it be changed.
        Cancelled: before there was a cell.
    """
    if request.what.edit_capability is not None:
        traces.card.require(request.what.edit_capability)
    return (yield from _fill(GrowingGrid(traces, request, control)))


def run_path_patching(
    traces: Traces, request: PathPatchingRequest, session: str, control: RunControl
) -> Generator[Progress, None, PatchGrid]:
    """The grid of senders; a cancel leaves the cells made so far.

    Raises:
        RequestError: as `run_patching`; or a sender that does not stand below the receiver.
        ModelError, Cancelled: as `run_patching`.
    """
    traces.card.require(Capability.HEADS)
    return (yield from _fill(_Paths(traces, request, control)))


def _fill(grid: GrowingGrid) -> Generator[Progress, None, PatchGrid]:
    try:
        yield from grid.fill()
    except Cancelled:
        if not any(np.isfinite(pair.effects).any() for pair in grid.pairs):
            raise
        return grid.record(cancelled=True)
    return grid.record()


class _Paths(GrowingGrid):
    """The same of senders, on their way to one place."""

    def __init__(self, traces: Traces, request: PathPatchingRequest, control: RunControl) -> None:
        size = traces.model.dimensions
        self._end, self._through_mlps = _read_end(traces, request), request.through_mlps
        top = size.n_layers if self._end is None else self._end.layer
        self._senders = {(layer, head) for layer in range(top) for head in range(size.n_heads)}
        if request.sender is not None:
            self._senders = {
                (index(layer, size.n_layers, "sender (layer)"), index(head, size.n_heads, "sender (head)"))
                for layer, head in request.sender
            }
        late = sorted(sender for sender in self._senders if sender[0] >= top)
        if late or not top:
            allowed = f"heads of layers 0 to {top - 1}, below the receiver's" if top else "a receiver above layer 0"
            raise RequestError(expected("sender", allowed, late or "one in layer 0"))
        self.path = "to the logits"
        if self._end is not None:
            what = {Site.Q: "queries", Site.K: "keys", Site.V: "values"}[self._end.site]
            self.path = f"to the {what} of L{self._end.layer}H{self._end.head}"
        self.path += ", through MLPs" if self._through_mlps else ""
        super().__init__(traces, request, control)

    def choose_layers(self) -> tuple[int, ...]:
        """Those of the senders."""
        return tuple(sorted({layer for layer, _ in self._senders}))

    def make_exchange(self, runs: PairRuns) -> Exchange:
        """The two runs of a pair, along the way."""
        return PathExchange.along(super().make_exchange(runs), self._end, self._through_mlps)

    def is_asked(self, cell: Cell) -> bool:
        """Whether it is a sender."""
        return (cell.layer, cell.head) in self._senders


def _read_end(traces: Traces, request: PathPatchingRequest) -> PathEnd | None:
    """Where the way ends; None is the logits.

    Raises:
        RequestError: no such layer or head. ModelError: the model's code does not let its attention be changed.
    """
    if isinstance(request.receiver, str):
        return None
    layer, head, site = request.receiver
    traces.card.require(Capability.PATTERN)
    require_site(traces.model, site)
    size = traces.model.dimensions
    n_heads = size.n_heads if site is Site.Q else size.n_kv_heads
    return PathEnd(index(layer, size.n_layers, "receiver (layer)"), index(head, n_heads, "receiver (head)"), site)
