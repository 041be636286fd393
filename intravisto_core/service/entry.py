"""One job as a service knows it: who asked, what was told since, and how it ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from intravisto_core.service.backend import Outcome, Ticket
from intravisto_core.sites import JobState

# its number, its name, and what it says in JSON's own types
Event = tuple[int, str, dict[str, Any]]
MOST_EVENTS = 256
PARTIAL = "partial"


@dataclass(slots=True, eq=False)
class Entry:
    """One job. tag: names its answer, once that was asked for. watchers: that follow it now."""

    ticket: Ticket = field(repr=False)
    client: str
    digest: str
    state: str = JobState.QUEUED.value
    events: list[Event] = field(default_factory=list, repr=False)
    n_events: int = 0
    outcome: Outcome | None = field(default=None, repr=False)
    size: int = 0
    tag: str = ""
    created: float = field(default_factory=time.monotonic)
    touched: float = field(default_factory=time.monotonic)
    watchers: int = 0
    cancelled: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.outcome is not None

    @property
    def kind(self) -> str:
        """What was asked for."""
        request = self.ticket.question.request
        return "Restore" if request is None else type(request).__name__

    def describe(self) -> dict[str, Any]:
        """The job in JSON's own types; no text of anybody."""
        last = {k: v for k, v in self.events[-1][2].items() if k != PARTIAL} if self.events else {}
        return {"id": self.ticket.id, "model": self.ticket.model, "kind": self.kind, "state": self.state} | last

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """One more event; of many the last ones are kept, and of what can be shown by now the newest."""
        self.n_events += 1
        if name == PARTIAL:
            self.events = [each for each in self.events if each[1] != PARTIAL]
        self.events.append((self.n_events, name, data))
        del self.events[:-MOST_EVENTS]
        self.news.set()
        self.news = asyncio.Event()
