"""The engine in this process: one loaded model, one dispatcher, one store of traces."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from intravisto_core.engine.base import Trace
from intravisto_core.engine.dispatcher import NO_LIMITS, Dispatcher
from intravisto_core.engine.job import Job
from intravisto_core.engine.jobs.registry import kind_of
from intravisto_core.engine.limits import Limits
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import TraceError
from intravisto_core.experiments.self_check import check_model
from intravisto_core.models import load
from intravisto_core.models.construction import computing
from intravisto_core.models.files.guard import GuardedReport, refusing_damage
from intravisto_core.models.free_memory import allocations_apart, freeing, give_back, trim
from intravisto_core.models.loading import nothing
from intravisto_core.models.memory import run_estimate
from intravisto_core.models.threads import threads_for, using_threads
from intravisto_core.options import refuse_unknown
from intravisto_core.progress import Progress, Report, quiet
from intravisto_core.records import ConceptDirection, MemoryEstimate, ModelCard, Token
from intravisto_core.request import DirectionRequest, Generation, ModelSpec, Request, TraceRequest, Turn, View
from intravisto_core.request.checks import check_whole, read_messages
from intravisto_core.request.fields import read_flag, read_text, read_whole_number
from intravisto_core.request.run import read_sites
from intravisto_core.sites import Site
from intravisto_core.traces import TraceEntry, Traces
from intravisto_core.traces.byte_store import ByteStore
from intravisto_core.traces.trace_store import STORE_BYTES
from intravisto_core.tracing import RunControl

R = TypeVar("R")


class LocalEngine:
    """Answers requests about one model.

    store_bytes: budget of activations and decoded tiles together. token: for the Hub, kept nowhere. report: is told how
    far opening is. make_room: is told the bytes of the weights before they are read. limits: of what strangers may ask.

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
    ) -> None:
        self._spec = spec
        told = GuardedReport(report)
        with freeing(f"opening {spec.source}"), allocations_apart(), refusing_damage(spec.source, told):
            model = load(spec, token, told, make_room)
            threads = threads_for(model)
            with using_threads(threads), computing():
                self._card = check_model(model)
        trim()
        self._traces: Traces | None = Traces(model, self._card, _store(store_bytes, limits))
        self._limits = limits
        self._dispatcher = Dispatcher(model.name, threads, limits)

    @property
    def spec(self) -> ModelSpec:
        """Which model was opened, and how."""
        return self._spec

    @property
    def model(self) -> ModelCard:
        """The loaded model and its checked capabilities."""
        return self._card

    @property
    def traces(self) -> Traces:
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
        reader = self.traces.model.reader
        ids = reader.encode_chat((*messages, ("user", text))) if chat else reader.encode(text, add_special_tokens)
        return reader.tokens(ids, len(ids))

    def estimate(self, prompt_tokens: int, new_tokens: int = 0, sites: Sequence[Site] | None = None) -> MemoryEstimate:
        """What such a run takes beside the loaded model, in bytes, and what is free for it."""
        n_prompt, n_new = _token_counts(prompt_tokens, new_tokens)
        return run_estimate(self.traces.model, n_prompt, n_new, read_sites(sites, "sites"))

    def expected_seconds(self, prompt_tokens: int, new_tokens: int = 0) -> float | None:
        """How long such a run takes by what earlier ones took, or None before the first."""
        return self.traces.times.expected(*_token_counts(prompt_tokens, new_tokens))

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """Queue a request; its job carries every error. Everything that is asked of the model passes here.

        Raises:
            RequestError: it is no request at all, or it asks for more than this server allows.
            BusyError: too much waits already.
            TraceError: the engine was closed.
        """
        kind = kind_of(request)
        self._limits.check(request, self.traces.model.reader)
        control = RunControl()
        work = self._answering(kind.work(self.traces, request, session, control), session)
        return self._dispatcher.submit(Job(request, session), work, kind.priority, slot, control.cancel)

    def view(self, view: View[R], *, session: str = "", slot: str = "") -> R:
        """Submit a view and wait for its record."""
        record: R = self.submit(view, session=session, slot=slot).result()
        return record

    def trace(
        self,
        prompt: str | tuple[int, ...],
        max_new_tokens: int = 0,
        *,
        add_special_tokens: bool = True,
        sites: Any = None,
        chat: bool = False,
        messages: Any = (),
        interventions: Any = (),
        **generation: Any,
    ) -> Trace:
        """Run the model over a prompt and wait; greedy by default.

        chat, messages: a conversation, written by the model's own template (see `TraceRequest`).
        interventions: what is changed inside; the unedited run is made first and is the trace's `baseline`.
        generation: temperature, top_k, top_p, seed, stop, forced (see `Generation`).

        Raises:
            IntravistoError: the prompt or an option does not serve, or the model gave infinite values.
        """
        refuse_unknown("trace", Generation.__dataclass_fields__, generation)
        asked = Generation(max_new_tokens, **generation)
        request = TraceRequest(prompt, asked, add_special_tokens, sites, chat, messages, interventions)
        trace: Trace = self.submit(request).result()
        return trace

    def direction(self, name: str, positive: Any, negative: Any = (), **options: Any) -> ConceptDirection:
        """A concept direction from prompts; site, layer and positions as in `DirectionRequest`."""
        return self.view(DirectionRequest(name, positive, negative, **options))

    def find(self, trace: str, session: str = "") -> Trace:
        """The handle of a trace that this session made.

        Raises:
            TraceError: there is none of that id, or it belongs to somebody else.
        """
        return Trace(self, self.describe(trace, session), session)

    def describe(self, trace: str, session: str = "") -> TraceInfo:
        """What is known of a trace now.

        Raises:
            TraceError: see `find`.
        """
        return _info(self.traces.entry(trace, session))

    def forget(self, trace: str, session: str = "") -> None:
        """Drop a trace; an edit lets go of its baseline and sources.

        Raises:
            TraceError: see `find`.
        """
        self.traces.forget(trace, session)

    def pin(self, trace: str, session: str = "") -> None:
        """Keep a trace's activations whatever the byte budget; pins count.

        Raises:
            TraceError: see `find`.
        """
        self.traces.pin(trace, session)

    def unpin(self, trace: str, session: str = "") -> None:
        """Take one pin back.

        Raises:
            TraceError: see `find`.
        """
        self.traces.unpin(trace, session)

    def close(self) -> None:
        """Stop working and let go of the model and its traces."""
        self._dispatcher.close()
        if self._traces is not None:
            self._traces.clear()
        self._traces = None
        give_back()

    def _answering(self, work: Generator[Progress, None, Any], session: str) -> Generator[Progress, None, Any]:
        """The work, with a handle in place of what is remembered of a new trace."""
        found = yield from work
        return Trace(self, _info(found), session) if isinstance(found, TraceEntry) else found


def _store(nbytes: int, limits: Limits) -> ByteStore:
    return ByteStore(nbytes, limits.pinned_bytes, limits.pinned_bytes_a_session)


def _token_counts(prompt_tokens: int, new_tokens: int) -> tuple[int, int]:
    """Both counts, read and checked.

    Raises:
        RequestError: one is no whole number from 0.
    """
    n_prompt = read_whole_number(prompt_tokens, "prompt_tokens")
    n_new = read_whole_number(new_tokens, "new_tokens")
    check_whole(n_prompt, "prompt_tokens", 0)
    check_whole(n_new, "new_tokens", 0)
    return n_prompt, n_new


def _info(entry: TraceEntry) -> TraceInfo:
    return TraceInfo(
        id=entry.id,
        fingerprint=entry.fingerprint,
        request=entry.request,
        tokens=entry.tokens,
        prompt_length=entry.prompt_length,
        text=entry.text,
        cancelled=entry.cancelled,
        baseline=entry.baseline,
        notes=tuple(entry.notes),
    )
