"""Questions at work in one process, whoever listens.

A question that is asked again with its id goes on, or is answered with what there is: it does not run twice. So the
work of a job, and the answer to it, outlive whoever asked, and for a while whoever listened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from intravisto_core.engine.answers import write_error
from intravisto_core.service.backend import Outcome, Step
from intravisto_core.service.failures import name_failure
from intravisto_core.sites import JobState

Told = Step | Outcome
# for so long an answer is known here, and so many bytes of all of them
KEEP_S = 600.0
MOST_KEPT = 256 << 20
# for so long work goes on that nobody listens to
ALONE_S = 120.0
STOPPED = {"kind": "Cancelled", "message": "cancelled: this machine was told to end. Send it again"}


@dataclass(slots=True, eq=False)
class Work:
    """One question at work. n, n_partial: how often there was a step, and something that can be shown."""

    step: Step = field(default_factory=Step)
    partial: bytes | None = field(default=None, repr=False)
    n: int = 0
    n_partial: int = 0
    outcome: Outcome | None = field(default=None, repr=False)
    listeners: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the answer."""
        return len(self.outcome.answer or b"") if self.outcome is not None else 0

    def tell(self, told: Told) -> None:
        """One more step, or the end."""
        if isinstance(told, Outcome):
            self.outcome = told
        else:
            self.step, self.n = told, self.n + 1
            if told.partial is not None:
                self.partial, self.n_partial = told.partial, self.n_partial + 1
        self.news.set()
        self.news = asyncio.Event()


class Works:
    """All questions of a process, by their ids. Only the thread of its event loop touches them.

    stop: makes a question end as soon as it can.
    """

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop = stop
        self._works: dict[str, Work] = {}

    async def follow(self, id: str, begin: Callable[[], AsyncGenerator[Told]]) -> AsyncGenerator[Told]:
        """The newest step whenever there is one, and at last the outcome. begin: what is done where the id is new."""
        work = self._works.get(id)
        if work is None:
            work = self._works[id] = Work()
            work.task = asyncio.create_task(self._run(id, work, begin()))
        seen = shown = 0
        work.listeners += 1
        try:
            while True:
                news = work.news
                if work.n > seen:
                    fresh = work.partial if work.n_partial > shown else None
                    seen, shown = work.n, work.n_partial
                    yield replace(work.step, partial=fresh)
                if work.outcome is not None:
                    yield work.outcome
                    return
                if work.n == seen:
                    await news.wait()
        finally:
            work.listeners -= 1
            if not work.listeners and work.outcome is None:
                asyncio.get_running_loop().call_later(ALONE_S, self._end_alone, id)

    def has_ended(self, id: str) -> bool:
        """Whether a question has been answered here, and its answer is known."""
        work = self._works.get(id)
        return work is not None and work.outcome is not None

    async def close(self) -> None:
        """End all of them."""
        tasks = [each.task for each in self._works.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._works.clear()

    async def _run(self, id: str, work: Work, steps: AsyncGenerator[Told]) -> None:
        end = Outcome(JobState.CANCELLED.value, error=STOPPED)
        try:
            async with aclosing(steps):
                async for told in steps:
                    if isinstance(told, Outcome):
                        end = told
                        break
                    work.tell(told)
        except Exception as error:
            end = Outcome(JobState.FAILED.value, error=write_error(name_failure(error)))
        finally:
            work.tell(end)
            self._keep(id, work)

    def _keep(self, id: str, work: Work) -> None:
        """Let go of an answer after a while, and of the oldest ones where all are too large."""
        asyncio.get_running_loop().call_later(KEEP_S, self._drop, id, work)
        self._works[id] = self._works.pop(id)
        ended = {id: work for id, work in self._works.items() if work.outcome is not None}
        nbytes = sum(work.size for work in ended.values())
        for old, work in ended.items():
            if nbytes <= MOST_KEPT:
                return
            nbytes -= work.size
            del self._works[old]

    def _drop(self, id: str, work: Work) -> None:
        if self._works.get(id) is work:
            del self._works[id]

    def _end_alone(self, id: str) -> None:
        work = self._works.get(id)
        if work is not None and work.outcome is None and not work.listeners:
            self._stop(id)
