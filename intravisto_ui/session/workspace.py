"""A workspace: what one user has asked and what came of it. It outlives page switches and reloads.

Workspaces lie in the server's memory beside the model pool. The address of the page holds the random id of one, which
is the key to it, and short view options; never a prompt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from intravisto_core.engine import Engine, SavedEngine, Trace
from intravisto_core.errors import Cancelled, TraceError
from intravisto_core.request import ModelSpec, QueryView, TraceRequest, View
from intravisto_ui.session import jobs, pool
from intravisto_ui.session.asked import Asked
from intravisto_ui.session.edit_shelf import EditShelf
from intravisto_ui.session.edit_stack import Edits, Look
from intravisto_ui.session.edit_tree import release_trace
from intravisto_ui.session.estimates import Estimates
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.jobs import Run
from intravisto_ui.session.kept_items import KeptItems
from intravisto_ui.session.module_blocks import read_blocks
from intravisto_ui.session.selection import Report, Selection
from intravisto_ui.session.shown import Shown, is_again, read_same_text

QUICK_S = 0.4
RUNS_KEPT = 12

T = TypeVar("T")
R = TypeVar("R")
Ran = tuple[ModelSpec, TraceRequest]
"""A model and what was run on it."""


@dataclass
class Workspace:
    """One user's prompt, options, traces and selection. session: Streamlit's id of the tab that shows it.
    resting: whether that tab was closed.

    edits: of the run that is shown. edit_shelf: those of the others. asked: target, contrast and position of the
    question that all pages answer. opens_at: what is selected when the first run is there, in a copy of another
    workspace. sight: the first and last position of the heatmap that are looked at. wants_more: whether its picture
    asked for columns that it still lacks. known: the positions that it has, None where it has all. sought: the token
    that is looked for, or why none is. forms: of what was just typed, of which one is taken. n_found: how often
    something was found. past: runs whose traces are there. remembered: what was run before the server was started
    anew. written: what was written down of it last. grids: of many runs, by what they show. brought: the trace whose
    prompt and settings the sidebar is to take over. claim: the one that the user is about to test, as its dialog has
    it. presses: keys of buttons that were pressed and that the page has not come to yet.
    """

    id: str
    options: dict[str, Any] = field(default_factory=dict)
    engine: Engine | None = None
    spec: ModelSpec | None = None
    base: Shown | None = None
    edits: Edits = field(default_factory=Edits)
    edit_shelf: EditShelf = field(default_factory=EditShelf)
    run: Run | None = None
    selection: Selection = field(default_factory=Selection)
    asked: Asked = field(default_factory=Asked)
    opens_at: Selection | None = None
    sight: tuple[int, int] | None = None
    wants_more: bool = False
    pins: dict[int, list[int]] = field(default_factory=dict)
    sought: QueryView | str | None = None
    forms: tuple[QueryView, ...] = ()
    n_found: int = 0
    known: tuple[int, ...] | None = None
    past: list[Shown] = field(default_factory=list)
    remembered: tuple[Ran, ...] = ()
    written: str = field(default="", repr=False)
    brought: str = ""
    claim: Any = None
    presses: set[str] = field(default_factory=set)
    problem: Exception | None = None
    notice: str = ""
    started: bool = False
    token: str = field(default="", repr=False)
    estimates: Estimates = field(default_factory=Estimates)
    session: str = ""
    resting: bool = False
    touched: float = field(default_factory=time.monotonic)
    kept: KeptItems = field(default_factory=KeptItems)
    grids: dict[str, GridRun[Any]] = field(default_factory=dict)
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
            self.run = Run(spec, request, self.id, self.token, read_blocks(self.options))
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

    def show_saved(self, trace: Trace) -> None:
        """Show a run that was opened from a file; no model is opened for it."""
        self.show_run(Shown(trace, trace.engine, trace.engine.spec, trace.request))

    def show_run(self, shown: Shown) -> None:
        """Show a run that a page has made; the sidebar then asks for it too."""
        with self._lock:
            self._show(shown)
            self.brought = shown.trace.id

    @property
    def shows_saved(self) -> bool:
        """Whether the run that is shown came from a file, and has no model behind it."""
        return self.base is not None and isinstance(self.base.engine, SavedEngine)

    def _specs(self) -> set[ModelSpec]:
        """The models that this workspace needs."""
        found = (self.spec, None if self.base is None or self.shows_saved else self.base.spec)
        return {spec for spec in found if spec is not None}

    def _note_failure(self, run: Run) -> None:
        if not isinstance(run.error, Cancelled):
            self.problem = run.error
        elif run.was_opening:
            self.notice = "Cancelled. What was downloaded is kept: Load or Run goes on from there."
        else:
            self.notice = "Cancelled before there was anything to show."

    def _show(self, shown: Shown) -> None:
        self._change_edits(shown)
        if self.base is not None:
            release_trace(self.base.trace, forget=False)
        shown.trace.pin()
        # the model has come behind the picture: what was clicked on meanwhile stays
        kept = self.selection if self.shows_saved and read_same_text(self.base, shown) else None
        self._change_question(shown)
        self.base = shown
        self.pins.clear()
        self.kept.clear()
        self.sight, self.known, self.wants_more = None, None, False
        top, wanted, self.opens_at = shown.engine.model.n_layers + 1, self.opens_at or kept, None
        self.selection = Selection(top, shown.trace.prompt_length - 1, None, self.selection.n)
        if wanted is not None and wanted.exists(top, len(shown.trace.tokens)):
            self.selection = replace(self.selection, row=wanted.row, position=wanted.position, target=wanted.target)
        if self.shows_saved:
            return
        self._list(shown)
        self.edit_shelf.forget_but({past.trace.id for past in self.past})

    def _list(self, shown: Shown) -> None:
        """Put a run into the list: first, or where it stands already, so that looking at one moves no other."""
        place = next((i for i, p in enumerate(self.past) if is_again(p, shown)), None)
        if place is None:
            self.past = [shown, *self.past][:RUNS_KEPT]
        else:
            self.past[place] = shown

    def _change_edits(self, shown: Shown) -> None:
        """Put the edits away with the run that they are of, and take out those of the run that is shown now."""
        before = self.base
        if before is None:
            return
        again = next((p.trace.id for p in self.past if is_again(p, shown)), "")
        same, prompt = before.text_id == shown.text_id, str(before.request.prompt)
        self.edits = self.edit_shelf.exchange(self.edits, before.trace, prompt, shown.trace, same, again)

    def _change_question(self, shown: Shown) -> None:
        """An earlier run brings back its question and what was looked for in it; another text begins with none, the
        same text keeps both.
        """
        before, n = self.base, self.asked.n + 1
        if before is None:
            return
        before.asked, before.sought = self.asked, self.sought if isinstance(self.sought, QueryView) else None
        if before.text_id != shown.text_id:
            self.asked, self.sought, self.forms = shown.asked, shown.sought, ()
        self.asked = replace(self.asked, n=n)

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
            self.selection = Selection.of_click(chosen)
            if self.selection.target is not None:
                # "why this token?" is the whole question: what was typed before goes
                self.asked = Asked(position=self.selection.target - 1, n=self.asked.n + 1)

    def _trace_ids(self) -> set[str]:
        """The traces whose cells can be selected: the baseline and its edited runs, which share their places."""
        edited = (trace for node in self.edits.runs.values() for trace in node.traces())
        return {trace.id for trace in (*edited, *([self.base.trace] if self.base else []))}

    def select_cell(self, row: int | None = None, position: int | None = None, target: int | None = None) -> None:
        """Select a cell that something on the page names; what is None stays, the target goes."""
        self.selection = self.selection.at_cell(row, position, target)

    def look_at(self, sight: Report) -> None:
        """Take over which positions of the heatmap are looked at, from a picture that waits for more columns."""
        if sight is not None:
            self.sight, self.wants_more = (int(sight["first"]), int(sight["last"])), True

    def select_head(self, head: int) -> None:
        """Of the selected cell, one head of the attention that wrote to it."""
        self.selection = self.selection.at_head(head)

    def keep(self, key: Hashable, make: Callable[[], T], outdated: Callable[[T], bool] = lambda _: False) -> T:
        """What `make` gives, kept for the last few keys, so that a click does not draw the picture again.

        outdated: says of what is kept whether it is made anew.
        """
        return self.kept.find(key, make, outdated)

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
        other.sought, other.asked = self.sought, self.asked
        other.opens_at = self.selection if self.selection.row is not None else None

    def rest(self) -> None:
        """Nobody looks at it for now: what it pinned may leave memory, and is run again when somebody comes back."""
        with self._lock:
            if not self.resting and self.base is not None:
                self.resting = True
                with suppress(TraceError):
                    self.base.engine.rest(self.id)

    def resume(self) -> None:
        """Somebody looks at it again."""
        with self._lock:
            if self.resting and self.base is not None:
                with suppress(TraceError):
                    self.base.engine.resume(self.id)
            self.resting = False

    def close(self) -> None:
        """Let go of the trace and of what runs."""
        self.resume()
        with self._lock:
            if self.run is not None:
                self.run.cancel()
            for grid in self.grids.values():
                grid.cancel()
            self.edits.drop_runs()
            self.edit_shelf.forget_but(())
            if self.base is not None:
                release_trace(self.base.trace, forget=False)
            for spec in self._specs():
                pool.release_lease(spec, self.id)
            self.run = self.base = self.engine = self.spec = None


def find_shown(workspace: Workspace) -> Shown | None:
    """The run that the pages show, edited or not."""
    return workspace.shown


def find_base(workspace: Workspace) -> Shown | None:
    """The run without edits."""
    return workspace.base


def find_engine(workspace: Workspace) -> Engine | None:
    """The open model."""
    return workspace.engine
