"""The jobs of a service: who asked, what was told since, and the answer until it is fetched."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from intravisto_core.engine.answers import Question, with_recipes
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import BusyError, IntravistoError, RequestError
from intravisto_core.service.backend import Backend, Gone, Outcome, Step, Ticket, route_key
from intravisto_core.service.clients import Clients
from intravisto_core.service.entry import PARTIAL, Entry, Event
from intravisto_core.service.limits import ServiceLimits
from intravisto_core.service.metrics import Metrics
from intravisto_core.sites import JobState

ID_BYTES = 16
MOST_RECIPES = 5000
# for so long a job is asked again while no machine answers: a replica may have to start and to load its model
PATIENCE_S = 600.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
SWEEP_S = 5.0


class Book:
    """All jobs of a service. Only the thread of its event loop touches it.

    secret: makes ids of idempotency keys. A book that begins with that of an earlier one gives a request that is sent
    again the id that it had, by which the machine at work knows it (`Works`): no list of keys needs to be kept.
    """

    def __init__(
        self, backend: Backend, clients: Clients, limits: ServiceLimits, metrics: Metrics, secret: bytes
    ) -> None:
        self.backend, self.clients, self.limits, self.metrics = backend, clients, limits, metrics
        self._secret = secret
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._by_idempotency: dict[tuple[str, str], str] = {}
        self._recipes: OrderedDict[tuple[str, str], TraceInfo] = OrderedDict()
        self._stopping: set[asyncio.Task[None]] = set()
        self._swept = time.monotonic()
        self._mean_s = 0.1

    def start(self, client: str, model: str, question: Question, key: str | None, digest: str) -> tuple[Entry, bool]:
        """A new job, or the one that was begun with this idempotency key; whether it is new.

        Raises:
            BusyError: too much waits, or this client has used up what it may. RequestError: the key was another's.
        """
        self.sweep()
        if key is not None and (known := self._by_idempotency.get((client, key))) in self._entries:
            entry = self._entries[str(known)]
            if entry.digest != digest:
                raise RequestError("Idempotency-Key: expected one key for one request; this one came with another")
            entry.touched = time.monotonic()
            return entry, False
        usage = self.clients.usage(client)
        usage.check()
        n_open = sum(not each.ended for each in self._entries.values())
        if n_open >= self.limits.most_jobs:
            after = max(1.0, self._mean_s * n_open)
            most = self.limits.most_jobs
            raise BusyError(f"queue: expected fewer than {most} jobs before this; come again in {after:.0f} s", after)
        ticket = Ticket(self._make_id(client, key, digest), model, question, route_key(model, question))
        entry = Entry(ticket, client, digest)
        self._entries[ticket.id] = entry
        if key is not None:
            self._by_idempotency[client, key] = ticket.id
        usage.open_jobs += 1
        self.metrics.open_jobs.inc()
        entry.tell("queued", Step(text="has arrived").describe())
        entry.task = asyncio.create_task(self._work(entry))
        return entry, True

    def find(self, client: str, id: str) -> Entry | None:
        """The job of that id, where it is this client's."""
        entry = self._entries.get(id)
        if entry is None or entry.client != client:
            return None
        entry.touched = time.monotonic()
        return entry

    async def cancel(self, entry: Entry) -> None:
        """Stop a job; it ends with what there is, and is not begun again on another machine."""
        entry.cancelled = True
        if not entry.ended:
            with suppress(Gone):
                await self.backend.cancel(entry.ticket)

    async def follow(self, entry: Entry, after: int, beat_s: float) -> AsyncIterator[Event | None]:
        """Events after a number, until the end, which is told in any case; None now and then, while nothing happens.

        A number that there was not yet is one of before this service began anew: all events are told.
        """
        entry.watchers += 1
        after = after if after <= entry.n_events else 0
        told = False
        try:
            while True:
                news = entry.news
                for event in [each for each in entry.events if each[0] > after]:
                    after, told = event[0], True
                    yield event
                if entry.ended:
                    if not told:
                        yield entry.events[-1]
                    return
                try:
                    await asyncio.wait_for(news.wait(), beat_s)
                except TimeoutError:
                    yield None
        finally:
            entry.watchers -= 1
            entry.touched = time.monotonic()

    async def wait(self, entry: Entry, seconds: float) -> None:
        """Wait for the end of a job, at most so long."""
        entry.watchers += 1
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                while not entry.ended:
                    await entry.news.wait()
        except TimeoutError:
            pass
        finally:
            entry.watchers -= 1
            entry.touched = time.monotonic()

    def known_traces(self, session: str) -> list[str]:
        """The traces of a session that were made here."""
        return [id for owner, id in self._recipes if owner == session]

    def drop_recipe(self, session: str, trace: str) -> None:
        """A trace was forgotten: it is not made again."""
        self._recipes.pop((session, trace), None)

    def sweep(self) -> None:
        """Let go of jobs that ended long ago, of answers beyond what is kept, and of jobs that nobody watches."""
        now = time.monotonic()
        if now - self._swept > SWEEP_S:
            self._swept = now
            for id, entry in list(self._entries.items()):
                quiet = 0.0 if entry.watchers else now - entry.touched
                if entry.ended and quiet > self.limits.keep_s:
                    del self._entries[id]
                elif not entry.ended and quiet > self.limits.abandoned_s:
                    entry.touched = now  # once
                    stopping = asyncio.create_task(self._give_up(entry))
                    self._stopping.add(stopping)
                    stopping.add_done_callback(self._stopping.discard)
            alive = self._entries.keys()
            self._by_idempotency = {k: id for k, id in self._by_idempotency.items() if id in alive}
        kept = sum(each.size for each in self._entries.values())
        for id, entry in list(self._entries.items()):
            if kept <= self.limits.most_kept:
                break
            if entry.ended and not entry.watchers and entry.size:
                kept -= entry.size
                del self._entries[id]
        self.metrics.kept_bytes.set(kept)

    async def keep_swept(self) -> None:
        """Sweep now and then, whether anybody asks for something or not."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    async def close(self) -> None:
        """Stop everything."""
        tasks = [each.task for each in self._entries.values() if each.task is not None and not each.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.backend.close()

    def _make_id(self, client: str, key: str | None, digest: str) -> str:
        if key is None:
            return secrets.token_urlsafe(ID_BYTES)
        said = "\n".join((client, digest, key)).encode("utf-8", "surrogatepass")
        return urlsafe_b64encode(hmac.digest(self._secret, said, "sha256")[:ID_BYTES]).decode().rstrip("=")

    async def _give_up(self, entry: Entry) -> None:
        """Stop a job that nobody waits for, wherever it is at work."""
        if entry.task is not None:
            entry.task.cancel()
        with suppress(Gone):
            await self.backend.cancel(entry.ticket)

    async def _work(self, entry: Entry) -> None:
        outcome = Outcome(JobState.CANCELLED.value, error={"kind": "Cancelled", "message": "nobody waited for it"})
        try:
            outcome = await self._answer(entry)
        finally:
            self._end(entry, outcome)

    async def _answer(self, entry: Entry) -> Outcome:
        pause, question = FIRST_PAUSE_S, entry.ticket.question

        def find(id: str) -> TraceInfo | None:
            return self._recipes.get((question.session, id))

        heard = time.monotonic()
        while time.monotonic() - heard < PATIENCE_S and not entry.cancelled:
            ticket = replace(entry.ticket, question=with_recipes(question, find))
            try:
                async for told in self.backend.answer(ticket):
                    heard, pause = time.monotonic(), FIRST_PAUSE_S
                    if isinstance(told, Outcome):
                        return told
                    self._tell_step(entry, told)
            except Gone:
                pass
            except IntravistoError as error:
                return Outcome(JobState.FAILED.value, error={"kind": type(error).__name__, "message": str(error)})
            self.metrics.again.inc()
            entry.tell("progress", Step(text="the machine at work was lost; it begins again on another").describe())
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        if entry.cancelled:
            message = "cancelled before there was anything to show"
            return Outcome(JobState.CANCELLED.value, error={"kind": "Cancelled", "message": message})
        return Outcome(
            JobState.FAILED.value,
            error={"kind": "ServiceError", "message": "service: expected a machine that answers; none did. Try again"},
        )

    def _tell_step(self, entry: Entry, step: Step) -> None:
        entry.state = JobState.QUEUED.value if step.place else JobState.RUNNING.value
        entry.tell("queued" if step.place else "progress", step.describe())
        if step.partial is not None:
            self.clients.usage(entry.client).charge(nbytes=len(step.partial))
            entry.tell(PARTIAL, step.describe() | {PARTIAL: b64encode(step.partial).decode()})

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        took = time.monotonic() - entry.created
        self._mean_s = 0.9 * self._mean_s + 0.1 * took
        self._learn(entry.ticket.question.session, outcome.infos)
        entry.size = len(outcome.answer or b"")
        model = entry.ticket.model
        usage = self.clients.usage(entry.client)
        usage.open_jobs -= 1
        usage.charge(outcome.tokens, entry.size, outcome.seconds)
        self.metrics.open_jobs.dec()
        self.metrics.jobs.labels(model, entry.kind, outcome.state).inc()
        self.metrics.seconds.labels(model, entry.kind).observe(took)
        self.metrics.tokens.labels(model).inc(outcome.tokens)
        self.metrics.bytes.labels(model).inc(entry.size)
        entry.state, entry.outcome, entry.touched = outcome.state, outcome, time.monotonic()
        last: dict[str, Any] = {"bytes": entry.size, "seconds": round(outcome.seconds, 4)}
        entry.tell(outcome.state, last | ({"error": dict(outcome.error)} if outcome.error else {}))

    def _learn(self, session: str, infos: tuple[TraceInfo, ...]) -> None:
        """Keep the descriptions of traces that were made."""
        for info in infos:
            self._recipes[session, info.id] = info
        while len(self._recipes) > MOST_RECIPES:
            self._recipes.popitem(last=False)
