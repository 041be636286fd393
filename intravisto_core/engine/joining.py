"""Small runs that wait are run in one pass, whoever asked for them (docs/methods.md §11, batches).

One pass is under way at a time; runs that come meanwhile wait for its end, and share the next one. Whichever of them
has a turn takes the pass a step further, so that no turn is spent on waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from intravisto_core.engine.job import Job
from intravisto_core.engine.jobs.trace import run_trace
from intravisto_core.errors import RequestError
from intravisto_core.progress import Progress, relay_positions
from intravisto_core.request import TraceRequest
from intravisto_core.traces import TraceEntry, Traces
from intravisto_core.traces.batches import find_obstacle, find_room, fits_together
from intravisto_core.tracing import RunControl, TraceData
from intravisto_core.tracing.batch_run import Row, run_batch
from intravisto_core.tracing.preparing import Prepared, prepare

Work = Generator[Progress, None, Any]

# a run is small up to so many tokens of its prompt, and new ones; a longer text is not even read for it
MOST_PROMPT, MOST_NEW, MOST_CHARACTERS = 64, 64, 1000
# of all places in a pass, those that may be padding
MOST_PADDING = 0.5


@dataclass(slots=True, eq=False)
class Member:
    """One run that may share a pass. alone: it may not any more. found: its activations, its entry, or its error."""

    job: Job
    request: TraceRequest
    control: RunControl
    prepared: Prepared | None = None
    alone: bool = False
    row: Row | None = None
    found: TraceData | TraceEntry | BaseException | None = None


@dataclass(slots=True, eq=False)
class _Pass:
    """Members at work together, or one alone. turns: the work; gives each row's activations, or the entry of one."""

    members: list[Member]
    turns: Work
    rows: list[Row]
    progress: Progress

    def tell(self, member: Member) -> Progress:
        """How far a member is."""
        if member in self.members:
            return self.progress
        return replace(self.progress, text="waits, to share a pass with others", elsewhere=True)


class Joining:
    """The small runs of one engine."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._waiting: list[Member] = []
        self._pass: _Pass | None = None
        self._lock = threading.Lock()

    def enter(self, job: Job, control: RunControl) -> Member | None:
        """A place among those that wait; None where the run is not small, or cannot share a pass. From any thread."""
        asked = job.request
        if not isinstance(asked, TraceRequest) or asked.chat or asked.interventions or asked.modules:
            return None
        new, reader = asked.generation, self._traces.model.reader
        if new.forced or new.max_new_tokens > MOST_NEW or len(asked.prompt) > MOST_CHARACTERS:
            return None
        if control.callbacks or reader.is_limited:
            return None
        member = Member(job, asked, control)
        with self._lock:
            # one that was cancelled before its first turn does not leave by itself
            self._waiting = [*(each for each in self._waiting if not each.job.cancelled), member]
        return member

    def leave(self, member: Member) -> None:
        """Wait no more."""
        with self._lock:
            self._waiting = [each for each in self._waiting if each is not member]

    def work(self, member: Member) -> Work:
        """A run, with others or alone; gives its entry. On the thread that calls torch."""
        while member.found is None:
            current = self._pass or self._begin(member)
            try:
                yield current.tell(member)
            except BaseException as error:  # cancelled, replaced, out of time, or the engine closes
                self._stop(member, current, error)
                continue
            if self._pass is current:
                self._advance(current)
        found = member.found
        if isinstance(found, TraceData):
            return self._traces.remember(member.request, member.job.session, found, member.control.new_id())
        if isinstance(found, BaseException):
            raise found
        return found

    def _begin(self, first: Member) -> _Pass:
        """A pass of whoever waits and may share it with the first."""
        members = [first, *self._find_partners(first)]
        for each in members:
            self.leave(each)
        turns: Work
        if len(members) == 1:
            turns = run_trace(self._traces, first.request, first.job.session, first.control)
            self._pass = _Pass(members, turns, [], Progress(text="begins"))
            return self._pass
        rows: dict[tuple[tuple[int, ...], int], Row] = {}
        for each in members:
            assert each.prepared is not None
            # equal prompts are one row
            row = Row(each.prepared, len(rows))
            each.row = rows.setdefault((each.prepared.prompt, each.prepared.n_new), row)
        together = list(rows.values())
        total = sum(len(row.prepared.prompt) + row.prepared.n_new for row in together)
        asked = first.request
        turns = relay_positions(
            run_batch(self._traces.model, together, asked.generation, asked.sites, RunControl()),
            total,
            f"{len(members)} runs in one pass",
        )
        self._pass = _Pass(members, turns, together, Progress(0, total, f"{len(members)} runs in one pass"))
        return self._pass

    def _find_partners(self, first: Member) -> list[Member]:
        with self._lock:
            waiting = [each for each in self._waiting if each is not first and not each.job.cancelled]
        if not waiting or not self._may_share(first):
            return []
        assert first.prepared is not None
        found: list[Member] = []
        n, longest, total = 1, len(first.prepared.prompt), len(first.prepared.prompt)
        most_new, room = first.prepared.n_new, find_room(self._traces.model)
        for each in waiting:
            if _kind(each) != _kind(first) or not self._may_share(each):
                continue
            assert each.prepared is not None
            own, new = len(each.prepared.prompt), max(most_new, each.prepared.n_new)
            n_longest = max(longest, own)
            padding = 1 - (total + own) / ((n + 1) * n_longest)
            fits = fits_together(self._traces.model, n + 1, n_longest, new, each.request.sites, room)
            if padding <= MOST_PADDING and fits:
                found.append(each)
                n, longest, total, most_new = n + 1, n_longest, total + own, new
        return found

    def _may_share(self, member: Member) -> bool:
        """Whether a run may share a pass; reads its prompt. One that does not serve is told so in its own turn."""
        if member.prepared is None and not member.alone:
            try:
                member.prepared = prepare(self._traces.model, member.request)
            except RequestError:
                member.alone = True
        if member.alone or member.prepared is None or len(member.prepared.prompt) > MOST_PROMPT:
            return False
        return not find_obstacle(self._traces.model, member.request, member.prepared, member.control)

    def _advance(self, current: _Pass, thrown: BaseException | None = None) -> None:
        """One step of a pass; at its end everybody in it has what was found."""
        try:
            current.progress = next(current.turns) if thrown is None else current.turns.throw(thrown)
            return
        except StopIteration as end:
            if not current.rows:
                current.members[0].found = end.value
            else:
                found = dict(zip(map(id, current.rows), end.value, strict=True))
                for each in current.members:
                    each.found = found[id(each.row)]
        except BaseException as error:
            if not current.rows:
                current.members[0].found = error
            else:
                # as one of many it may have failed for the others
                for each in current.members:
                    each.alone = True
                with self._lock:
                    self._waiting = [*current.members, *self._waiting]
        self._pass = None

    def _stop(self, member: Member, current: _Pass, error: BaseException) -> None:
        """A member ends before its pass; a run alone gives what there is, where it can.

        Raises:
            BaseException: the error, where there is nothing to show.
        """
        self.leave(member)
        if member not in current.members or self._pass is not current:
            raise error
        if not current.rows and not isinstance(error, GeneratorExit):
            self._advance(current, error)
            return
        current.members.remove(member)
        if not any(each.row is member.row for each in current.members) and member.row is not None:
            member.row.going = False
        if not current.members:
            self._pass = None
            current.turns.close()
        raise error


def _kind(member: Member) -> tuple[Any, ...]:
    """Runs of one kind may share a pass."""
    return replace(member.request.generation, max_new_tokens=0), member.request.sites
