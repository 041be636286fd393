"""What the HTTP side asks of whoever holds the models: one process, or the replicas of a cluster."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from intravisto_core.engine.answers import Question, named_traces
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.request import ModelSpec, TraceBatch, TraceRequest, to_json

KEY_CHARACTERS = 12
# what an answer holds while its model is being opened, and nothing else then
OPENING = "opening"


class Gone(Exception):
    """Whoever was at work on a question is no more; the question may be asked again."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a question is: place in the queue, steps done of all, and what is being done.

    elsewhere: see `Progress`. partial: what can be shown by now, as `pack_answer` wrote it, where that is new.
    """

    place: int = 0
    done: int = 0
    total: int = 0
    text: str = ""
    elsewhere: bool = False
    partial: bytes | None = field(default=None, repr=False)

    def describe(self) -> dict[str, Any]:
        """The step in JSON's own types, without what can be shown."""
        return {name: getattr(self, name) for name in ("place", "done", "total", "text", "elsewhere")}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a question ended. answer: as `pack_answer` wrote it, or None where it failed.

    state: of `JobState`. error: as `write_error` wrote it. seconds: of the model's time. tokens: run through the model.
    infos: descriptions of the traces that were made, with those of their baselines.
    """

    state: str
    answer: bytes | None = None
    error: Mapping[str, str] | None = None
    seconds: float = 0.0
    tokens: int = 0
    infos: tuple[TraceInfo, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A question as it is handed to the models. key: which replica holds what it needs (`route_key`)."""

    id: str
    model: str
    question: Question = field(repr=False)
    key: str = ""


class Backend(Protocol):
    """Who answers questions about models."""

    @property
    def models(self) -> Mapping[str, ModelSpec]:
        """The models on offer, by the names that clients know."""
        ...

    def answer(self, ticket: Ticket) -> AsyncIterator[Step | Outcome]:
        """Steps, and at last one outcome.

        Raises:
            Gone: the replica at work was lost.
        """
        ...

    async def cancel(self, ticket: Ticket) -> None:
        """Stop a question that is being answered; it ends as soon as it can, with what there is."""
        ...

    async def ask(self, model: str, verb: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """What needs no turn of the model: its card, tokens of a text, an estimate, a trace's description.

        While the model is being opened that alone is said, under `OPENING`.

        Raises:
            IntravistoError: why there is no answer. Gone: see `answer`.
        """
        ...

    async def close(self) -> None:
        """Let go of all models."""
        ...


def route_key(model: str, question: Question) -> str:
    """Where a question belongs: with the traces that it needs, or where equal runs are.

    An id of a trace ends with the key of its run: the hash of what was asked, without interventions. So equal runs
    meet, an edit is made where its baseline is, and views find their traces without any table.
    """
    needed = named_traces(question.request)
    for id in needed or tuple(question.recipes):
        if key := find_key(id):
            return key
    request: Any = question.request
    if isinstance(request, TraceBatch):
        request = request.requests[0]
    if isinstance(request, TraceRequest):
        # of a run alone: what is changed in it, and how long it goes on, leaves it where it is
        text = to_json(TraceRequest(request.prompt, chat=request.chat, messages=request.messages))
        return hashlib.sha256(f"{model}\n{text}".encode()).hexdigest()[:KEY_CHARACTERS]
    return hashlib.sha256(model.encode()).hexdigest()[:KEY_CHARACTERS]


def find_key(trace: str) -> str:
    """The key in a trace's id; of another id none."""
    return trace.rpartition(".")[2] if "." in trace else ""


def make_trace_id(key: str) -> str:
    """A random handle that says where its trace lives."""
    return f"{secrets.token_urlsafe(12)}.{key}"
