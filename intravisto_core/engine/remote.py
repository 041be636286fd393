"""An engine on another machine: the same methods, and the same records bit for bit."""

from __future__ import annotations

import re
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlencode

from intravisto_core.engine.answers import Question, Reply, pack_question, read_info, with_recipes
from intravisto_core.engine.asking import Asking
from intravisto_core.engine.base import Trace
from intravisto_core.engine.connection import Connection
from intravisto_core.engine.elsewhere import Elsewhere
from intravisto_core.engine.job import Job
from intravisto_core.engine.remote_job import Follower
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import LostTraceError, ServiceError, TraceError, show_value
from intravisto_core.records import MemoryEstimate, ModelCard, Token
from intravisto_core.request import ModelSpec, Request, Turn, from_json
from intravisto_core.request.checks import read_messages
from intravisto_core.request.fields import read_flag, read_text
from intravisto_core.request.modules import read_paths
from intravisto_core.request.run import read_sites
from intravisto_core.sites import Site
from intravisto_core.storage.plain import read_plain

ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
MOST_INFOS = 4000
FRESH_S = 1.0
AT_ONCE_S = 30.0
# what a service says while it loads a model
OPENING = "opening"
# of pinned traces, those that a service is told of at once
MOST_TOLD = 1000


class RemoteEngine(Elsewhere, Asking):
    """One model of a service. Traces live there; here stands what each was made of, to make a lost one again."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._infos: OrderedDict[tuple[str, str], TraceInfo] = OrderedDict()
        self._pinned: dict[str, Counter[str]] = {}
        self._open = True
        self._jobs: list[Job] = []
        self._read_card(0.0)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._connection.url

    @property
    def spec(self) -> ModelSpec:
        """Which model it is, by the service's name for it, and how it was opened."""
        return self._spec

    @property
    def model(self) -> ModelCard:
        """The loaded model and its checked capabilities, as far as they are known; see `finish_check`."""
        if self._open and self._card.pending and time.monotonic() - self._card_read > FRESH_S:
            self._read_card(0.0)
        return self._card

    @property
    def identity(self) -> Mapping[str, str]:
        """What names the exact model: hashes of its weights, tokenizer and chat template, and what it computes in."""
        return self._identity

    def finish_check(self, timeout: float | None = None) -> ModelCard:
        """Wait until the whole self-check is done; gives the card with nothing pending.

        Raises:
            TimeoutError: it is not done within `timeout` seconds; it goes on.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self._card.pending:
            left = AT_ONCE_S if until is None else until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the self-check has not ended within {timeout} s; it goes on")
            self._read_card(min(left, AT_ONCE_S))
        return self._card

    @property
    def busy(self) -> bool:
        """Whether a job that was asked for here runs or waits."""
        self._jobs = [job for job in self._jobs if not job.state.ended]
        return bool(self._jobs)

    def tokenize(
        self, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
    ) -> tuple[Token, ...]:
        """The tokens that a prompt would have, without running anything."""
        body = {
            "text": read_text(text, "text"),
            "add_special_tokens": read_flag(add_special_tokens, "add_special_tokens"),
            "chat": read_flag(chat, "chat"),
            "messages": read_messages(messages, "messages"),
        }
        found = self._ask("/v1/tokenize", body)["tokens"]
        return tuple(read_plain(Token, each, _no_array, "token") for each in found)

    def estimate(
        self,
        prompt_tokens: int,
        new_tokens: int = 0,
        sites: Sequence[Site] | None = None,
        whitened: bool = False,
        modules: str | Sequence[str] = (),
    ) -> MemoryEstimate:
        """What such a run takes beside the loaded model there, in bytes, and what is free for it."""
        chosen = read_sites(sites, "sites")
        body = {
            "prompt_tokens": prompt_tokens,
            "new_tokens": new_tokens,
            "sites": None if chosen is None else [site.value for site in chosen],
            "whitened": read_flag(whitened, "whitened"),
            "modules": list(read_paths(modules, "modules")),
        }
        return read_plain(MemoryEstimate, self._ask("/v1/estimate", body)["estimate"], _no_array, "estimate")

    def expected_seconds(self, prompt_tokens: int, new_tokens: int = 0) -> float | None:
        """How long such a run takes by what earlier ones took there, or None before the first."""
        found = self._ask("/v1/estimate", {"prompt_tokens": prompt_tokens, "new_tokens": new_tokens})["seconds"]
        return None if found is None else float(found)

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """Queue a request; its job carries every error that comes later.

        Raises:
            RequestError: it is no request, or holds a function, which cannot leave this process.
            BusyError: the service has no room just now; `after` says when to come again.
            ServiceError: it cannot be reached.
        """
        self._check_open()
        read_text(session, "session")
        read_text(slot, "slot")
        job = Job(request, session)
        self._follow(job, Question(request, session, slot))
        return job

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
        return self._remember(read_info(self._on_trace("describe", trace, session), {}), session)

    def forget(self, trace: str, session: str = "") -> None:
        """Drop a trace; an edit lets go of its baseline and sources.

        Raises:
            TraceError: see `find`.
        """
        known = self._infos.pop((session, trace), None)
        self._pinned.get(session, Counter()).pop(trace, None)
        try:
            self._ask(self._place(trace, "forget"), {"session": session})
        except LostTraceError:
            if known is None:
                raise

    def pin(self, trace: str, session: str = "") -> None:
        """Keep a trace's activations whatever the byte budget; pins count.

        Raises:
            TraceError: see `find`.
        """
        self._on_trace("pin", trace, session)
        self._pinned.setdefault(session, Counter())[trace] += 1

    def unpin(self, trace: str, session: str = "") -> None:
        """Take one pin back.

        Raises:
            TraceError: see `find`.
        """
        self._on_trace("unpin", trace, session)
        pinned = self._pinned.get(session, Counter())
        pinned[trace] -= 1
        self._pinned[session] = +pinned

    def rest(self, session: str) -> None:
        """Nobody looks at a session for now: its pins keep nothing until `resume`."""
        self._on_session("rest", session)

    def resume(self, session: str) -> None:
        """Somebody looks at a session again: its pins count again."""
        self._on_session("resume", session)

    def __repr__(self) -> str:
        return f"RemoteEngine({self._card.name} at {self.url})"

    def close(self) -> None:
        """Let go of the connection; the model stays open at the service."""
        for job in self._jobs:
            if not job.state.ended:
                job.cancel()
        self._open = False
        self._connection.close()

    def _follow(self, job: Job, question: Question) -> None:
        def ask(more: bool) -> bytes:
            full = with_recipes(question, lambda id: self._infos.get((question.session, id)))
            return pack_question(full if more else question, model=self._name)

        def received(reply: Reply) -> Any:
            for info in reply.beside:
                self._remember(info, question.session)
            if isinstance(reply.value, list):
                return [self._handle(each, question.session) for each in reply.value]
            return self._handle(reply.value, question.session)

        Follower(self._connection, job, ask, received).start()
        self._jobs = [*(each for each in self._jobs if not each.state.ended), job]

    def _handle(self, found: Any, session: str) -> Any:
        return Trace(self, self._remember(found, session), session) if isinstance(found, TraceInfo) else found

    def _remember(self, info: TraceInfo, session: str) -> TraceInfo:
        self._infos[session, info.id] = info
        while len(self._infos) > MOST_INFOS:
            self._infos.popitem(last=False)
        return info

    def _on_trace(self, verb: str, trace: str, session: str) -> Any:
        """What needs no turn of the model; a trace that the service lost is made again first."""
        place, body = self._place(trace, verb), {"session": session}
        try:
            return self._ask(place, body)
        except LostTraceError:
            known = self._infos.get((session, trace))
            if known is None:
                raise
        job = Job(known.request, session)
        self._follow(job, Question(None, session, recipes={trace: known}))
        job.result()
        return self._ask(place, body)

    def _on_session(self, verb: str, session: str) -> None:
        """Which traces have pins is told too, their own or on a baseline: machines that hold none need not know."""
        edits = [id for (owner, id), info in self._infos.items() if owner == session and info.baseline]
        traces = dict.fromkeys([*self._pinned.get(read_text(session, "session"), ()), *reversed(edits)])
        self._ask(f"/v1/session/{verb}", {"session": session, "traces": list(traces)[:MOST_TOLD]})

    def _place(self, trace: str, verb: str) -> str:
        if (
            not isinstance(trace, str)
            or not trace
            or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in trace)
        ):
            raise TraceError(f"trace: expected the id of one made here; got {show_value(trace)}. Run the prompt again")
        return f"/v1/traces/{trace}/{verb}"

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        self._check_open()
        return self._ask_when_open("POST", path, {"model": self._name, **body})

    def _ask_when_open(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, however long the model takes to be loaded: the service says so every now and then."""
        while OPENING in (found := self._connection.ask(method, path, body)):
            pass
        return found

    def _read_card(self, finish: float) -> None:
        asked = urlencode({"model": self._name, "finish": f"{finish:g}"})
        found = self._ask_when_open("GET", f"/v1/capabilities?{asked}")
        try:
            self._card = read_plain(ModelCard, found["card"], _no_array, "card")
            self._identity = {str(key): str(value) for key, value in found["identity"].items()}
            self._spec: ModelSpec = from_json(found["spec"])
        except (KeyError, TypeError, AttributeError):
            raise ServiceError(f"{self.url}: expected the card of a model; got something else") from None
        self._card_read = time.monotonic()

    def _check_open(self) -> None:
        if not self._open:
            raise TraceError("engine: expected an open one; it was closed. Connect again")


def _no_array(name: str) -> NoReturn:
    raise ServiceError("service: expected an answer without arrays; got one that names an array")
