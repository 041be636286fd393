"""The engine in this process: one loaded model, one dispatcher, one store."""

from __future__ import annotations

import platform
import secrets
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from intravisto_core.engine.base import Job, Progress
from intravisto_core.engine.compare import compare
from intravisto_core.engine.context import context_of
from intravisto_core.engine.cost import RunTimes
from intravisto_core.engine.dispatcher import Dispatcher, Priority
from intravisto_core.engine.drawers import DRAWERS
from intravisto_core.engine.edit import again, edit
from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.experiments import EXPERIMENTS
from intravisto_core.engine.running import reporting
from intravisto_core.engine.store import ByteStore
from intravisto_core.engine.trace import Trace
from intravisto_core.errors import RequestError, TraceError
from intravisto_core.experiments.identities import relative_error, tolerance
from intravisto_core.experiments.self_check import check
from intravisto_core.models import LoadedModel, load
from intravisto_core.models.construction import computing
from intravisto_core.models.free_memory import allocations_apart, freeing, give_back, trim
from intravisto_core.models.loading import nothing
from intravisto_core.models.memory import require_room, run_estimate
from intravisto_core.models.progress import Report, quiet
from intravisto_core.models.threads import threads_for, using_threads
from intravisto_core.records import ConceptDirection, MemoryEstimate, ModelCard, Token
from intravisto_core.request import (
    CompareView,
    DirectionRequest,
    EffectView,
    Generation,
    LinkCheckView,
    ModelSpec,
    Request,
    TraceRequest,
    Turn,
    ViewRequest,
    to_json,
)
from intravisto_core.tracing import RunControl, TraceData, prepare, run
from intravisto_core.tracing.run import Prepared

STORE_BYTES = 2 << 30
MOST_ENTRIES = 2000
Turns = Generator[Progress, None, Any]


class LocalEngine:
    """Answers requests about one model.

    store_bytes: budget of activations and decoded tiles together. token: for the Hub, kept nowhere. report: is told how
    far opening is. make_room: is told the bytes of the weights before they are read.

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
    ) -> None:
        self.spec = spec
        with freeing(f"opening {spec.source}"), allocations_apart():
            self._model: LoadedModel = load(spec, token, report, make_room)
            threads = threads_for(self._model)
            with using_threads(threads), computing():
                self._card = check(self._model)
        trim()
        self._times = RunTimes()
        self.store = ByteStore(store_bytes)
        self._entries: OrderedDict[str, TraceEntry] = OrderedDict()
        self._dispatcher = Dispatcher(self._model.name, threads)

    @property
    def model(self) -> ModelCard:
        """The loaded model and its checked capabilities."""
        return self._card

    def tokenize(
        self, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
    ) -> tuple[Token, ...]:
        """The tokens that a prompt would have, without running anything; see `TraceRequest` for chat and messages.

        Raises:
            TraceError: the engine was closed.
        """
        if "_model" not in self.__dict__:
            raise TraceError("engine: expected an open one; it was closed. Open the model again")
        reader = self._model.reader
        ids = reader.encode_chat((*messages, ("user", text))) if chat else reader.encode(text, add_special_tokens)
        return reader.tokens(ids, len(ids))

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """Queue a request; its job carries every error."""
        job = Job(request, session)
        if isinstance(request, TraceRequest):
            control = RunControl()
            work = self._trace(request, session, control)
            return self._dispatcher.submit(job, work, Priority.TRACE, slot, control.cancel)
        if isinstance(request, DirectionRequest | LinkCheckView):
            control = RunControl()
            work = EXPERIMENTS[type(request)](self, request, session, control)
            return self._dispatcher.submit(job, work, Priority.TRACE, slot, control.cancel)
        if isinstance(request, CompareView):
            return self._dispatcher.submit(job, compare(self, request, session), Priority.VIEW, slot)
        return self._dispatcher.submit(job, self._view(request, session), Priority.VIEW, slot)

    def view(self, view: ViewRequest | EffectView | DirectionRequest, *, session: str = "", slot: str = "") -> Any:
        """Submit a view and wait for its record."""
        return self.submit(view, session=session, slot=slot).result()

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
        unknown = set(generation) - set(Generation.__dataclass_fields__)
        if unknown:
            known = ", ".join(Generation.__dataclass_fields__)
            raise RequestError(f"trace: expected options among {known}; got {', '.join(sorted(unknown))}")
        request = TraceRequest(
            prompt,
            Generation(max_new_tokens, **generation),
            add_special_tokens,
            sites,
            chat,
            messages,
            interventions,
        )
        trace: Trace = self.submit(request).result()
        return trace

    def find(self, trace: str, session: str = "") -> Trace:
        """The handle of a trace that this session made.

        Raises:
            TraceError: there is none of that id, or it belongs to somebody else.
        """
        return Trace(self, self._entry(trace, session))

    def direction(self, name: str, positive: Any, negative: Any = (), **where: Any) -> ConceptDirection:
        """A concept direction from prompts; site, layer and positions as in `DirectionRequest`."""
        found: ConceptDirection = self.view(DirectionRequest(name, positive, negative, **where))
        return found

    def forget(self, trace: str) -> None:
        """Drop a trace; an edit lets go of its baseline and sources."""
        entry = self._entries.pop(trace, None)
        self.store.drop(("trace", trace))
        for source in () if entry is None else entry.holds:
            self.unpin(source)

    def pin(self, trace: str) -> None:
        """Keep a trace's activations whatever the byte budget."""
        self.store.pin(("trace", trace))

    def unpin(self, trace: str) -> None:
        """Take one pin back."""
        self.store.unpin(("trace", trace))

    def estimate(self, prompt_tokens: int, new_tokens: int = 0, sites: Any = None) -> MemoryEstimate:
        """What such a run takes beside the loaded model, and what is free for it."""
        return run_estimate(self._model, prompt_tokens, new_tokens, sites)

    def expected_seconds(self, prompt_tokens: int, new_tokens: int = 0) -> float | None:
        """How long such a run takes by what earlier ones took, or None before the first."""
        return self._times.expected(prompt_tokens, new_tokens)

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._dispatcher.n_waiting > 0

    def close(self) -> None:
        """Stop working and let go of the model and its traces."""
        self._dispatcher.close()
        self.store.clear()
        self._entries.clear()
        self.__dict__.pop("_model", None)
        give_back()

    def _entry(self, trace: str, session: str) -> TraceEntry:
        entry = self._entries.get(trace)
        if entry is None or entry.session != session:
            raise TraceError(f"trace: expected the id of one made here; got {trace!r}. Run the prompt again")
        return entry

    def _trace(self, request: TraceRequest, session: str, control: RunControl) -> Turns:
        if request.interventions:
            return Trace(self, (yield from edit(self, request, session, control)))
        prepared = prepare(self._model, request)
        total = len(prepared.prompt) + prepared.n_new
        require_room(self.estimate(len(prepared.prompt), prepared.n_new, request.sites), "this run")
        yield Progress(0, total, "reading the prompt")
        turns = run(self._model, prepared, request.generation, request.sites, control)
        turns = self._times.learning(turns, len(prepared.prompt))
        data: TraceData = yield from reporting(turns, total, "generating")
        return Trace(self, self._remember(request, session, data))

    def _remember(self, request: TraceRequest, session: str, data: TraceData, named: str = "") -> TraceEntry:
        """Keep a run. named: its canonical request, where that is not the request's own JSON."""
        reader = self._model.reader
        entry = TraceEntry(
            id=secrets.token_urlsafe(12),
            # with the ids: a chat template may write the day's date
            fingerprint=self._model.fingerprint(f"{named or to_json(request)}\n{data.ids[: data.prompt_length]}"),
            session=session,
            request=request,
            tokens=reader.tokens(data.ids, data.prompt_length),
            prompt_length=data.prompt_length,
            forced_length=data.forced_length,
            last_logits=data.last_logits,
            text=reader.decode(data.ids),
            cancelled=data.cancelled,
            notes=list(data.notes),
        )
        self._entries[entry.id] = entry
        while len(self._entries) > MOST_ENTRIES:
            unused = (e for e in self._entries if not self.store.pinned(("trace", e)))
            self.forget(next(unused, next(iter(self._entries))))
        self.store.put(("trace", entry.id), data, data.nbytes)
        return entry

    def _data(self, entry: TraceEntry) -> Generator[Progress, None, TraceData]:
        """The activations of a trace; evicted ones are made again by the same schedule of calls and compared."""
        data: TraceData | None = self.store.get(("trace", entry.id))
        if data is not None:
            return data
        if entry.request.interventions:
            data = yield from again(self, entry, entry.session)
        else:
            start = entry.prompt_length
            forced = entry.ids[start : start + entry.forced_length]
            prepared = Prepared(entry.ids[:start], forced, entry.length - start, replay=entry.ids[start:])
            turns = run(self._model, prepared, entry.request.generation, entry.request.sites)
            data = yield from reporting(turns, entry.length, "running an evicted trace again")
        self.store.put(("trace", entry.id), data, data.nbytes)
        error = float(relative_error(data.last_logits, entry.last_logits))
        note = f"run again after eviction: its logits differ from the first run's by {error:.1e}"
        if not error <= tolerance(self._model.dtype, self._model.quantisation) and note not in entry.notes:
            entry.notes.append(note)
        return data

    def _view(self, view: ViewRequest, session: str) -> Turns:
        entry = self._entry(view.trace, session)
        data = yield from self._data(entry)
        return (yield from DRAWERS[type(view)](context_of(self, entry, data), view))


def diagnostics(engine: LocalEngine) -> str:
    """Versions, machine and card, to paste into a report; no prompt, no path, no secret."""
    lines = [f"python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    packages = (
        "torch",
        "transformers",
        "streamlit",
        "plotly",
        "accelerate",
        "numpy",
        "tokenizers",
        "safetensors",
    )
    for package in packages:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    lines.append(f"threads {torch.get_num_threads()}, GPU {gpu}")
    card = asdict(engine.model)
    checks = card.pop("capabilities")
    lines += [f"{name}: {value}" for name, value in card.items()]
    lines += [f"{name}: ok={c['ok']} error={c['error']} {c['reason']}".rstrip() for name, c in checks.items()]
    lines.append(f"store: {len(engine.store)} items, {engine.store.nbytes} of {engine.store.budget} bytes")
    return "\n".join(lines)
