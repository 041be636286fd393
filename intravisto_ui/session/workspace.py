"""A workspace: what one user has asked and what came of it. It outlives page switches and reloads.

Workspaces lie in the server's memory beside the model pool. The address of the page holds the random id of one, which
is the key to it, and short view options; never a prompt.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from intravisto_core.engine import Engine, Trace
from intravisto_core.errors import Cancelled
from intravisto_core.request import ModelSpec, QueryView, TraceRequest, View
from intravisto_ui.session import jobs, pool
from intravisto_ui.session.edit_stack import Edits, Look, release_trace
from intravisto_ui.session.estimates import Estimates
from intravisto_ui.session.jobs import Run

QUICK_S = 0.4
ITEMS_KEPT = 16
RUNS_KEPT = 12

T = TypeVar("T")
R = TypeVar("R")
Report = Mapping[str, Any] | None
"""What a component's script reports of a click."""


@dataclass(frozen=True)
class Selection:
    """The selected cell, for all pages; row, position and target may be None.

    n: number of the user's act, newer ones win. part: of a picture of flows, the id of its node (`mid.3.7`) or of its
    link (`block.2.7>mid.3.7`); "" for the cell itself.
    """

    row: int | None = None
    position: int | None = None
    target: int | None = None
    n: int = 0
    part: str = ""


@dataclass
class Shown:
    """The trace that the pages show, with what was asked for it and the model that it came from."""

    trace: Trace
    engine: Engine
    spec: ModelSpec
    request: TraceRequest
    seconds: float = 0.0


@dataclass
class Workspace:
    """One user's prompt, options, traces and selection. session: Streamlit's id of the tab that shows it.

    opens_at: what is selected when the first run is there, in a copy of another workspace.
    """

    id: str
    options: dict[str, Any] = field(default_factory=dict)
    engine: Engine | None = None
    spec: ModelSpec | None = None
    base: Shown | None = None
    edits: Edits = field(default_factory=Edits)
    run: Run | None = None
    selection: Selection = field(default_factory=Selection)
    opens_at: Selection | None = None
    pins: dict[int, list[int]] = field(default_factory=dict)
    sought: QueryView | str | None = None
    past: list[Shown] = field(default_factory=list)
    problem: Exception | None = None
    notice: str = ""
    started: bool = False
    token: str = field(default="", repr=False)
    estimates: Estimates = field(default_factory=Estimates)
    session: str = ""
    touched: float = field(default_factory=time.monotonic)
    kept: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def shown(self) -> Shown | None:
        """What the pages show: the run that was asked for, or an edited one, as `edits.look` says."""
        node = self.edits.current_node()
        if self.base is None or node is None or node.held is None or self.edits.look == Look.BASELINE:
            return self.base
        return replace(self.base, trace=node.held)

    def start(self, spec: ModelSpec, request: TraceRequest | None) -> None:
        """Open the model and run the request, in a job of its own; what ran before is cancelled."""
        with self._lock:
            if self.run is not None:
                self.run.cancel()
            self.problem, self.notice = None, "" if self.started else self.notice
            self.started = True
            self.run = Run(spec, request, self.id, self.token)
            self.run.start()

    def collect_run(self) -> bool:
        """Take over what an ended run brought. True when one had ended."""
        with self._lock:
            run = self.run
            if run is None or not run.ended:
                return False
            self.run = None
            if run.engine is not None:
                self.engine, self.spec = run.engine, run.spec
            if run.error is not None:
                self._note_failure(run)
            elif run.engine is not None and run.trace is not None and run.request is not None:
                self._show(Shown(run.trace, run.engine, run.spec, run.request, run.seconds))
            return True

    def wait_briefly(self) -> None:
        """Wait a moment for a run that has just begun: most end before they would show."""
        if self.run is not None:
            self.run.wait(max(0.0, QUICK_S - self.run.age()))

    def renew_leases(self) -> None:
        """Keep the models of what is shown; say so where the one that was chosen is gone."""
        for spec in self._specs():
            pool.renew_lease(spec, self.id)
        if self.engine is not None and self.spec is not None and self.spec not in pool.pool().specs:
            self.engine = None
            self.notice = (
                "The model was put away: nobody had used it for long, or another one needed the room. "
                "Press Run to open it again."
            )

    def _specs(self) -> set[ModelSpec]:
        found = (self.spec, None if self.base is None else self.base.spec)
        return {spec for spec in found if spec is not None}

    def _note_failure(self, run: Run) -> None:
        if not isinstance(run.error, Cancelled):
            self.problem = run.error
        elif run.was_opening:
            self.notice = "Cancelled. What was downloaded is kept: Load or Run goes on from there."
        else:
            self.notice = "Cancelled before there was anything to show."

    def _show(self, shown: Shown) -> None:
        self.edits.drop_runs()
        if self.base is not None:
            release_trace(self.base.trace, forget=False)
        shown.trace.pin()
        self.base = shown
        self.pins.clear()
        self.kept.clear()
        top, wanted, self.opens_at = shown.engine.model.n_layers + 1, self.opens_at, None
        self.selection = Selection(top, shown.trace.prompt_length - 1, None, self.selection.n)
        if wanted is not None and _exists(wanted, top, len(shown.trace.tokens)):
            self.selection = replace(self.selection, row=wanted.row, position=wanted.position, target=wanted.target)
        asked = (shown.spec, shown.request)
        self.past = [shown, *(p for p in self.past if (p.spec, p.request) != asked)][:RUNS_KEPT]

    def show_again(self, past: Shown) -> bool:
        """Show an earlier run without running it. False where its model was put away since, or something runs now."""
        if pool.renew_lease(past.spec, self.id) is not past.engine:
            return False
        with self._lock:
            if self.run is not None:
                return False
            self.engine, self.spec, self.problem, self.notice = past.engine, past.spec, None, ""
            self._show(past)
            return True

    def select(self, chosen: Report) -> None:
        """Take a selection that a component reported, unless it is of another trace or older than what is known."""
        if not chosen or self.base is None or chosen.get("rev") not in self._trace_ids():
            return
        n = int(chosen.get("n") or 0)
        if n >= self.selection.n:
            row, position, target = (chosen.get(name) for name in ("row", "position", "target"))
            self.selection = Selection(row, position, target, n, str(chosen.get("part") or ""))

    def _trace_ids(self) -> set[str]:
        """The traces whose cells can be selected: the baseline and its edited runs, which share their places."""
        edited = (trace for node in self.edits.runs.values() for trace in node.traces())
        return {trace.id for trace in (*edited, *([self.base.trace] if self.base else []))}

    def select_cell(self, row: int | None = None, position: int | None = None, target: int | None = None) -> None:
        """Select a cell that something on the page names; what is None stays, the target goes."""
        now = self.selection
        # a number of its own, newer than any click so far
        row, position = (now.row or 0) if row is None else row, (now.position or 0) if position is None else position
        self.selection = Selection(row, position, target, now.n + 1)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, kept for the last few keys, so that a click does not draw the picture again."""
        with self._lock:
            if key in self.kept:
                self.kept.move_to_end(key)
                found: T = self.kept[key]
                return found
        made = make()
        with self._lock:
            self.kept[key] = made
            while len(self.kept) > ITEMS_KEPT:
                self.kept.popitem(last=False)
        return made

    def read_view(self, engine: Engine, view: View[R], slot: str) -> R:
        """The record of a view, asked for once and kept for the last few views.

        Raises:
            IntravistoError: why there is no record.
        """
        return self.keep(view, lambda: jobs.compute_view(engine, view, self.id, slot))

    def copy_into(self, other: Workspace) -> None:
        """Give what the user chose and typed to another workspace, which runs it for itself: traces are not shared."""
        other.options.update(self.options)
        other.edits.cards = self.edits.cards
        other.sought = self.sought
        other.opens_at = self.selection if self.selection.row is not None else None

    def close(self) -> None:
        """Let go of the trace and of what runs."""
        with self._lock:
            if self.run is not None:
                self.run.cancel()
            self.edits.drop_runs()
            if self.base is not None:
                release_trace(self.base.trace, forget=False)
            for spec in self._specs():
                pool.release_lease(spec, self.id)
            self.run = self.base = self.engine = self.spec = None


def _exists(selection: Selection, top: int, n_positions: int) -> bool:
    """Whether a run has that cell. top: its highest row."""
    row, position = selection.row, selection.position
    return row is not None and row <= top and position is not None and position < n_positions


def find_shown(workspace: Workspace) -> Shown | None:
    """The run that the pages show, edited or not."""
    return workspace.shown


def find_base(workspace: Workspace) -> Shown | None:
    """The run without edits."""
    return workspace.base


def find_engine(workspace: Workspace) -> Engine | None:
    """The open model."""
    return workspace.engine
