"""The engine in this process: one loaded model, one dispatcher, one store of traces."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property
from typing import Any

from intravisto_core.engine.asking import Asking
from intravisto_core.engine.base import Trace
from intravisto_core.engine.checking import Checking
from intravisto_core.engine.dictionaries import Dictionaries
from intravisto_core.engine.dispatcher import NO_LIMITS, Dispatcher, Priority
from intravisto_core.engine.estimates import estimate_run, read_counts
from intravisto_core.engine.hook_block import HookBlock
from intravisto_core.engine.job import Job
from intravisto_core.engine.jobs.registry import kind_of
from intravisto_core.engine.jobs.vectors import apply_module
from intravisto_core.engine.joining import Joining
from intravisto_core.engine.keeping import Keeping
from intravisto_core.engine.limits import Limits
from intravisto_core.engine.trace_info import describe_entry
from intravisto_core.errors import IntravistoError, RequestError, TraceError
from intravisto_core.inspection.inspector import Inspector
from intravisto_core.models import load
from intravisto_core.models.construction import computing
from intravisto_core.models.files.guard import GuardedReport, refusing_damage
from intravisto_core.models.free_memory import allocations_apart, freeing, give_back, trim
from intravisto_core.models.identity import identify
from intravisto_core.models.loading import nothing
from intravisto_core.models.threads import threads_for, using_threads
from intravisto_core.progress import Progress, Report, quiet
from intravisto_core.records import MemoryEstimate, ModelCard, Token
from intravisto_core.request import ModelSpec, Request, TraceBatch, TraceRequest, Turn
from intravisto_core.request.checks import read_messages
from intravisto_core.request.fields import read_flag, read_text
from intravisto_core.request.modules import read_path
from intravisto_core.sites import Site
from intravisto_core.traces import TraceEntry, Traces
from intravisto_core.traces.byte_store import ByteStore
from intravisto_core.traces.trace_store import STORE_BYTES
from intravisto_core.tracing import RunControl
from intravisto_core.tracing.callbacks import Callback
from intravisto_core.tracing.preparing import read_typed_in_turns
from intravisto_core.tracing.run import make_id
from intravisto_core.views.architecture import make_inspector, read_vocabulary


class LocalEngine(Dictionaries, Keeping, Asking):
    """Answers requests about one model.

    store_bytes: budget of activations and decoded tiles together. token: for the Hub, kept nowhere. report: is told how
    far opening is. make_room: is told the bytes of the weights before they are read. limits: of what strangers may ask.
    joining: whether small runs that wait share their passes, to the exactness of `traces`.

    Raises:
        ModelError: the model cannot be opened or fails its self-check.
        MemoryShortError: it does not fit.
    """

    def __init__(
        self,
        spec: ModelSpec,
        store_bytes: int = STORE_BYTES,
        *,
        token: str | None = None,
        report: Report = quiet,
        make_room: Callable[[int], None] = nothing,
        limits: Limits = NO_LIMITS,
        joining: bool = False,
    ) -> None:
        self._spec = spec
        told = GuardedReport(report)
        with freeing(f"opening {spec.source}"), allocations_apart(), refusing_damage(spec.source, told):
            model = load(spec, token, told, make_room)
            threads = threads_for(model)
            with using_threads(threads), computing():
                self._checking = Checking(model)
        trim()
        self._card = self._checking.card
        self._traces: Traces | None = Traces(model, self._card, _store(store_bytes, limits))
        self._joining = Joining(self._traces) if joining else None
        self._checking.learnt = self._learn
        self._limits = limits
        self._hook_blocks: list[HookBlock] = []
        self._dispatcher = Dispatcher(model.name, threads, limits)
        self._rest: Job | None = None
        if not self._checking.ended:
            self._rest = self._dispatcher.submit(Job(spec), self._checking.finish(), Priority.CHECK)

    @property
    def spec(self) -> ModelSpec:
        """Which model was opened, and how."""
        return self._spec

    @property
    def model(self) -> ModelCard:
        """The loaded model and its checked capabilities, as far as they are known; see `finish_check`."""
        return self._card

    def finish_check(self, timeout: float | None = None) -> ModelCard:
        """Wait until the whole self-check is done; gives the card with nothing pending.

        Raises:
            TimeoutError: it is not done within `timeout` seconds; it goes on.
            ModelError: the model is refused.
        """
        if self._rest is not None:
            self._rest.result(timeout)
        return self.model

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """What names the exact model: hashes of its weights, tokenizer and chat template, and what it computes in."""
        return identify(self.kept_traces.model)

    @cached_property
    def inspector(self) -> Inspector:
        """The loaded model opened for looking: its tree, its modules, the flow of its tensors; its runs take turns."""
        return make_inspector(self.kept_traces.model, self._take_turn)

    @property
    def kept_traces(self) -> Traces:
        """The traces of this model; for experiments and tests in this process.

        Raises:
            TraceError: the engine was closed.
        """
        if self._traces is None:
            raise TraceError("engine: expected an open one; it was closed. Open the model again")
        return self._traces

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._dispatcher.n_waiting > 0

    def tokenize(
        self, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
    ) -> tuple[Token, ...]:
        """The tokens that a prompt would have, without running anything; see `TraceRequest` for chat and messages."""
        text, messages = read_text(text, "text"), read_messages(messages, "messages")
        add_special_tokens, chat = read_flag(add_special_tokens, "add_special_tokens"), read_flag(chat, "chat")
        reader = self.kept_traces.model.reader
        if not chat:
            ids = reader.encode(text, add_special_tokens)
            return reader.tokens(ids, len(ids))
        conversation = (*messages, ("user", text))
        ids = reader.encode_chat(conversation)
        return reader.tokens(ids, len(ids), reader.find_template(conversation, ids))

    def estimate(
        self,
        prompt_tokens: int,
        new_tokens: int = 0,
        sites: Sequence[Site] | None = None,
        whitened: bool = False,
        modules: str | Sequence[str] = (),
    ) -> MemoryEstimate:
        """What such a run takes beside the loaded model, in bytes, and what is free for it; see `Engine.estimate`.

        modules: as in `TraceRequest`; what they give is measured once, by two short runs.
        """
        return estimate_run(self.kept_traces, prompt_tokens, new_tokens, sites, whitened, modules, self._measured)

    def expected_seconds(self, prompt_tokens: int, new_tokens: int = 0) -> float | None:
        """How long such a run takes by what earlier ones took, or None before the first."""
        return self.kept_traces.times.expected(*read_counts(prompt_tokens, new_tokens))

    def submit(
        self,
        request: Request,
        *,
        session: str = "",
        slot: str = "",
        new_id: Callable[[], str] = make_id,
        alone: bool = False,
    ) -> Job:
        """Queue a request; its job carries every error. Everything that is asked of the model passes here.

        new_id: gives the id of each trace that is made; a service that has told others an id makes its trace again.
        alone: it shares no pass, so that a run that is made again has the bits of a run alone.

        Raises:
            ModelError: the model failed its self-check after it had opened.
            RequestError: it is no request at all, or it asks for more than this server allows.
            BusyError: too much waits already.
            TraceError: the engine was closed.
        """
        if self._dispatcher.on_its_thread:
            raise RequestError(
                "engine: a function inside a run cannot wait for another request of the same engine. Look at `seen`, "
                "use `engine.apply(path, x)`, or ask before and after the run"
            )
        kind, traces = kind_of(request), self.kept_traces
        read_text(session, "session")
        read_text(slot, "slot")
        self._checking.refuse()
        self._limits.check(request, traces.model.reader)
        control = RunControl(callbacks=self._callbacks_of(request, session), new_id=new_id)
        job, joining = Job(request, session), None if alone else self._joining
        member = None if joining is None else joining.enter(job, control)

        def begin() -> Generator[Progress, None, Any]:
            if joining is None or member is None:
                return kind.work(traces, request, session, control)
            return joining.work(member)

        try:
            work = self._answering(request, begin, session)
            return self._dispatcher.submit(job, work, kind.priority, slot, control.cancel)
        except IntravistoError:
            if joining is not None and member is not None:
                joining.leave(member)
            raise

    def hook(self, *, session: str = "") -> HookBlock:
        """A `with` block: functions around modules, that act on the runs that this session asks for inside it.

        with engine.hook() as h:
            h.post("model.layers.3.mlp", lambda module, input, output: print(output.shape))
            trace = engine.trace("a prompt")
        """
        model, session = self.kept_traces.model, read_text(session, "session")
        return HookBlock(model.network, session, self._hook_blocks, model.name, read_vocabulary(model))

    def apply(self, path: str, x: Any) -> Any:
        """What a module makes of any array; see `Asking.apply`."""
        if self._dispatcher.on_its_thread:
            return apply_module(self.kept_traces.model, read_path(path, "path"), x)[1]
        return super().apply(path, x)

    def find(self, trace: str, session: str = "") -> Trace:
        """The handle of a trace that this session made.

        Raises:
            TraceError: there is none of that id, or it belongs to somebody else.
        """
        return self._handle(self.kept_traces.entry(trace, session), session)

    def close(self) -> None:
        """Stop working and let go of the model and its traces."""
        self._dispatcher.close()
        self._checking.close()
        self.__dict__.pop("inspector", None)
        if self._traces is not None:
            self._traces.clear()
        self._traces = self._joining = None
        give_back()

    def __repr__(self) -> str:
        return f"LocalEngine({self._card.name}, {self._card.dtype} on {self._card.device})"

    def _learn(self, card: ModelCard) -> None:
        self._card = self.kept_traces.card = card

    def _callbacks_of(self, request: Request, session: str) -> tuple[Callback, ...]:
        """The functions of the session's blocks, for a run."""
        if not isinstance(request, TraceRequest | TraceBatch):
            return ()
        return tuple(c for block in list(self._hook_blocks) if block.session == session for c in block.callbacks)

    def _take_turn(self, work: Callable[[], Any]) -> Any:
        """Do something with the model on the thread that calls torch."""
        if self._dispatcher.on_its_thread:
            return work()
        self.kept_traces  # noqa: B018  (an engine that was closed says so)

        def turn() -> Generator[Progress, None, Any]:
            yield from self._checking.finish_first()
            yield Progress(0, 1, "looking at the modules")
            return work()

        return self._dispatcher.submit(Job(TraceRequest((0,))), turn(), Priority.VIEW).result()

    def _measured(self, paths: tuple[str, ...]) -> Callable[[int], int]:
        """What modules give, by the length of a text; measured by the thread that calls torch."""
        traces = self.kept_traces

        def work() -> Generator[Progress, None, Callable[[int], int]]:
            yield from self._checking.finish_first()
            yield Progress(0, 1, "measuring modules")
            return traces.module_sizes.measure(traces.model, paths)

        job = self._dispatcher.submit(Job(TraceRequest((0,), modules=paths)), work(), Priority.VIEW)
        sizes: Callable[[int], int] = job.result()
        return sizes

    def _answering(
        self, request: Request, work: Callable[[], Generator[Progress, None, Any]], session: str
    ) -> Generator[Progress, None, Any]:
        """The work, with a handle in place of what is remembered of a new trace."""
        yield from read_typed_in_turns(self.kept_traces.model, request)
        found = yield from self._checking.answer(work)
        if isinstance(found, list):
            return [self._handle(each, session) for each in found]
        return self._handle(found, session)

    def _handle(self, found: Any, session: str) -> Any:
        if not isinstance(found, TraceEntry):
            return found
        trace = Trace(self, describe_entry(found), session)
        weakref.finalize(trace, self.kept_traces.hand_out(found.id)).atexit = False
        return trace


def _store(nbytes: int, limits: Limits) -> ByteStore:
    return ByteStore(nbytes, limits.pinned_bytes, limits.pinned_bytes_a_session)
