"""Cards of edits, and the runs that were made with them: nodes of a tree whose root is the baseline."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from intravisto_core import request
from intravisto_core.engine import Job, Trace
from intravisto_core.errors import TraceError
from intravisto_core.sites import TextMode


@dataclass(frozen=True, slots=True)
class Card:
    """One intervention of the stack, on or off.

    what: where it takes values from another text, its `source` is that prompt; each run traces it anew.
    """

    id: int
    what: request.Intervention
    on: bool = True


Stack = tuple[Card, ...]


@dataclass
class EditRun:
    """A node of the tree: the baseline run with the cards that were on.

    parent: the node that was looked at when it was made. held, free: its traces; free is None where the model was not
    let to write on. jobs: of what is still under way, by text mode. story: what an example wants to show by it.
    """

    id: int
    parent: int
    cards: Stack
    story: str = ""
    jobs: dict[TextMode, Job] = field(default_factory=dict)
    held: Trace | None = None
    free: Trace | None = None
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing of it is under way."""
        return not self.jobs

    def describe(self) -> str:
        """What was changed, in one line."""
        return "; ".join(request.in_words(card.what) for card in self.cards)

    def collect(self) -> bool:
        """Take over what has ended. True when something had."""
        ended = {mode: job for mode, job in self.jobs.items() if job.state.ended}
        for mode, job in ended.items():
            del self.jobs[mode]
            try:
                trace: Trace = job.result(timeout=0)
            except Exception as error:
                self.error = self.error or error
                continue
            trace.pin()
            if mode is TextMode.HELD:
                self.held = trace
            else:
                self.free = trace
        return bool(ended)

    def progress(self) -> tuple[float, str]:
        """How far it is, from 0 to 1, and that in words."""
        parts = [job.progress for job in self.jobs.values()]
        done, total = sum(p.done for p in parts), sum(p.total for p in parts)
        waiting = max((job.place for job in self.jobs.values()), default=0)
        words = f"Waiting: {waiting} before this one" if waiting else "Running the edited model"
        return (min(1.0, done / total) if total else 0.0), words

    def cancel(self) -> None:
        """Stop what is under way."""
        for job in self.jobs.values():
            job.cancel()

    def traces(self) -> list[Trace]:
        """The traces that it brought."""
        return [t for t in (self.held, self.free) if t is not None]


def release_trace(trace: Trace, forget: bool = True) -> None:
    """Take a pin back and drop the trace; nothing is to be done where the engine was closed or lacks it."""
    with suppress(TraceError):
        trace.unpin()
        if forget:
            trace.forget()
