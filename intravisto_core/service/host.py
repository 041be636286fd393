"""The models of one process, and what is asked of them: the same in one server and in each replica of a cluster."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from intravisto_core.engine.answers import Question, named_traces, pack_answer, write_error
from intravisto_core.engine.base import Trace
from intravisto_core.engine.job import Job
from intravisto_core.engine.limits import Limits
from intravisto_core.engine.local import LocalEngine
from intravisto_core.engine.pool import Pool
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import IntravistoError, LostTraceError, TraceError
from intravisto_core.request import ModelSpec
from intravisto_core.service.backend import OPENING, Outcome, Step, Ticket, make_trace_id
from intravisto_core.service.failures import name_failure
from intravisto_core.service.slices import refuse_large
from intravisto_core.service.verbs import VERBS
from intravisto_core.service.works import Works
from intravisto_core.sites import JobState
from intravisto_core.traces.byte_store import count_bytes

T = TypeVar("T")
EVERY_S = 0.1
# for so long an answer waits for its model to be open; then it says that it is not
OPEN_S = 20.0
# what can be shown by now is sent so often at most, and only where it is no larger than this
PARTIAL_S = 0.5
MOST_PARTIAL = 4 << 20
MOST_HANDLES = 1000
THREADS = 8
SESSION = "service"
MOST_BYTES = 256 << 20


class Host:
    """Opens models when they are first asked for, and answers questions about them.

    models: by the names that clients know. limits: of one request. most_bytes: of one answer. memory: bytes of weights
    that may be loaded at once; the model unused for longest makes room.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        limits: Limits,
        most_bytes: int = MOST_BYTES,
        memory: int | None = None,
    ) -> None:
        self.models = dict(models)
        self._most_bytes = most_bytes
        self._pool = Pool(memory, limits=limits, joining=True)
        self._threads = ThreadPoolExecutor(THREADS, "intravisto-service")
        self._works = Works(self.stop)
        self._jobs: dict[str, Job] = {}
        self._cancelled: set[str] = set()
        self._handles: OrderedDict[tuple[str, str], Trace] = OrderedDict()
        self._restoring: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def answer(self, ticket: Ticket) -> AsyncIterator[Step | Outcome]:
        """See `Backend.answer`. A ticket that is at work here, or was lately, is not begun again."""
        async for told in self._works.follow(ticket.id, lambda: self._answer(ticket)):
            yield told

    async def _answer(self, ticket: Ticket) -> AsyncGenerator[Step | Outcome]:
        try:
            async for step in self._open(ticket):
                yield step
            engine = await self._engine(ticket.model)
            async for step in self._restore(engine, ticket):
                yield step
            if ticket.question.request is None:
                yield Outcome(JobState.DONE.value, await self._in_thread(pack_answer, None))
                return
            job = await self._in_thread(
                engine.submit,
                ticket.question.request,
                session=ticket.question.session,
                slot=ticket.question.slot,
                new_id=partial(make_trace_id, ticket.key),
            )
            async for step in self._watch(ticket.id, job):
                yield step
            yield await self._in_thread(self._outcome, engine, ticket, job)
        except IntravistoError as error:
            yield Outcome(JobState.FAILED.value, error=write_error(error))
        finally:
            self._jobs.pop(ticket.id, None)
            self._cancelled.discard(ticket.id)

    async def cancel(self, ticket: Ticket) -> None:
        """See `Backend.cancel`."""
        self.stop(ticket.id)

    def stop(self, id: str) -> None:
        """Stop the job of a ticket, now or as soon as it begins."""
        if self._works.has_ended(id):
            return
        self._cancelled.add(id)
        if (job := self._jobs.get(id)) is not None:
            job.cancel()

    async def ask(self, model: str, verb: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """See `Backend.ask`."""
        if words := await self._wait_until_open(model):
            return {OPENING: words}
        engine = await self._engine(model)
        if verb == "forget":
            self._handles.pop((str(body.get("session", "")), str(body.get("trace", ""))), None)
        try:
            return await self._in_thread(VERBS[verb], engine, body)
        except IntravistoError:
            raise
        except Exception as error:
            raise name_failure(error) from None

    async def close(self) -> None:
        """See `Backend.close`."""
        await self._works.close()
        self._handles.clear()
        await self._in_thread(self._pool.close)
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *arguments, **options))

    async def _open(self, ticket: Ticket) -> AsyncIterator[Step]:
        async for step in self._watch(ticket.id, self._pool.open(self.models[ticket.model], SESSION)):
            yield step

    async def _wait_until_open(self, model: str) -> str:
        """Wait a while for a model to be open; gives what is being done where it is not. It holds up no thread."""
        job, loop, ended = self._pool.open(self.models[model], SESSION), asyncio.get_running_loop(), asyncio.Event()
        job.when_ended(partial(_set_from_thread, loop, ended))
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), OPEN_S)
            return ""
        return job.progress.text or "it is being loaded"

    async def _engine(self, model: str) -> LocalEngine:
        return await self._in_thread(self._pool.lease, self.models[model], SESSION)

    async def _watch(self, ticket: str, job: Job) -> AsyncIterator[Step]:
        """How far a job is, until it has ended; whoever stops listening cancels it."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        self._jobs[ticket] = job
        if ticket in self._cancelled:
            job.cancel()
        job.when_ended(partial(_set_from_thread, loop, ended))
        last, shown, packed_at = Step(), None, -math.inf
        try:
            while not ended.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), EVERY_S)
                    break
                told = job.progress
                now = Step(job.place, told.done, told.total, told.text, told.elsewhere)
                if told.partial is not None and told.partial is not shown and loop.time() - packed_at > PARTIAL_S:
                    shown, packed_at = told.partial, loop.time()
                    packed = await self._in_thread(pack_answer, shown)
                    yield replace(now, partial=packed if len(packed) <= MOST_PARTIAL else None)
                elif now != last:
                    yield now
                last = now
        finally:
            if not job.state.ended:
                job.cancel()

    async def _restore(self, engine: LocalEngine, ticket: Ticket) -> AsyncIterator[Step]:
        """Make the traces again that a question needs and this process lacks, from their descriptions."""
        question = ticket.question
        wanted = named_traces(question.request) or tuple(question.recipes)
        for info in self._missing(engine, question, wanted):
            lock = self._restoring.setdefault(info.id, asyncio.Lock())
            async with lock:
                if self._knows(engine, info.id, question.session):
                    continue
                job = await self._in_thread(
                    engine.submit, info.request, session=question.session, new_id=partial(str, info.id), alone=True
                )
                async for step in self._watch(ticket.id, job):
                    yield step
                self._keep(_check_same(job.result(), info))

    def _missing(self, engine: LocalEngine, question: Question, wanted: tuple[str, ...]) -> list[TraceInfo]:
        """Descriptions of what is missing, each after those that it needs."""
        found: dict[str, TraceInfo] = {}

        def visit(id: str, path: tuple[str, ...]) -> None:
            if id in found or self._knows(engine, id, question.session):
                return
            info = question.recipes.get(id)
            if info is None or id in path or not (info.request.interventions or not info.baseline):
                raise LostTraceError(f"trace: expected the id of one made here; got {id!r}. Run the prompt again")
            for other in named_traces(info.request):
                visit(other, (*path, id))
            found[id] = info

        for id in wanted:
            visit(id, ())
        return list(found.values())

    def _knows(self, engine: LocalEngine, id: str, session: str) -> bool:
        try:
            engine.describe(id, session)
        except TraceError:
            return False
        return True

    def _keep(self, trace: Trace) -> None:
        self._handles[trace.session, trace.id] = trace
        while len(self._handles) > MOST_HANDLES:
            self._handles.popitem(last=False)

    def _outcome(self, engine: LocalEngine, ticket: Ticket, job: Job) -> Outcome:
        state = job.state.value
        if job.error is not None:
            return Outcome(state, error=write_error(job.error), seconds=job.spent)
        found = job.result()
        infos = self._keep_all(engine, found)
        tokens = sum(len(info.tokens) for info in infos)
        if isinstance(found, Trace):
            found = engine.describe(found.id, found.session)
        elif isinstance(found, list):
            found = [engine.describe(one.id, one.session) if isinstance(one, Trace) else one for one in found]
        nbytes = count_bytes(found)
        packed = pack_answer(found, engine.model.dtype, infos) if nbytes <= self._most_bytes else b""
        if not packed or len(packed) > self._most_bytes:
            length = len(found.tokens) if hasattr(found, "tokens") else _length(engine, ticket.question)
            error = refuse_large(ticket.question.request, len(packed) or nbytes, self._most_bytes, length)
            return Outcome(JobState.FAILED.value, error=write_error(error), seconds=job.spent, tokens=tokens)
        return Outcome(state, packed, seconds=job.spent, tokens=tokens, infos=infos)

    def _keep_all(self, engine: LocalEngine, found: Any) -> tuple[TraceInfo, ...]:
        """Keep the handles of traces that were made, and of their baselines; gives what each is."""
        made: dict[str, TraceInfo] = {}
        for trace in found if isinstance(found, list) else [found]:
            if isinstance(trace, Trace):
                for each in (trace, trace.baseline):
                    if each is not None:
                        self._keep(each)
                        made[each.id] = engine.describe(each.id, each.session)
        return tuple(made.values())


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended before the job
        loop.call_soon_threadsafe(event.set)


def _length(engine: LocalEngine, question: Question) -> int | None:
    trace = getattr(question.request, "trace", "")
    with suppress(TraceError):
        return len(engine.describe(trace, question.session).tokens)
    return None


def _check_same(trace: Trace, info: TraceInfo) -> Trace:
    """A trace that was made again must be what it was."""
    if trace.fingerprint == info.fingerprint and [t.id for t in trace.tokens] == [t.id for t in info.tokens]:
        return trace
    trace.forget()
    raise TraceError(
        "trace: expected the run that its description tells of; made again, it is another one: it was stopped early, "
        "or the model changed. Run the prompt again"
    )
