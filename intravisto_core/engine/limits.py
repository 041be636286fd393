"""What one request may ask of an engine that strangers use; checked at the one door that every request passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from intravisto_core.errors import BusyError, RequestError
from intravisto_core.request import (
    ActiveTextsRequest,
    CircuitRequest,
    DirectionRequest,
    EvidenceView,
    Intervention,
    MeasureTestRequest,
    PatchingRequest,
    PathPatchingRequest,
    PromptSet,
    SweepRequest,
    TraceBatch,
    TraceRequest,
)
from intravisto_core.request.fields import walk_values
from intravisto_core.tokens import TokenReader

MOST_CHARACTERS_A_TOKEN = 16  # a text with more characters than this a token is refused before it is tokenized


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take; None is no limit but the model's own."""

    prompt_tokens: int | None = None
    """Of a prompt with what was said before it, and of each prompt of a set."""
    new_tokens: int | None = None
    """Generated, or put in the model's mouth."""
    prompts: int | None = None
    """Prompts of a direction, or of all prompt sets of a request."""
    tokens_typed: int | None = None
    """Tokens that one view follows or looks up."""
    queue: int | None = None
    """Pieces of work that may be ahead of a new one."""
    seconds: float | None = None
    """Of the model's time that one request may take."""
    modules: int | None = None
    """Modules that one run keeps beside its sites."""
    pinned_bytes: int | None = None
    """Of activations that all sessions together keep pinned; those unused for longest lose their pins first."""
    pinned_bytes_a_session: int | None = None
    """The same for one session."""

    def check(self, request: Any, reader: TokenReader) -> None:
        """Refuse a request that asks for too much. Characters are counted before anything is tokenized.

        Raises:
            RequestError: a prompt, a continuation, a set of prompts or a list of tokens is too long.
        """
        if self.prompt_tokens is not None:
            longest = max((len(each) for each in walk_values(request) if isinstance(each, str)), default=0)
            most = MOST_CHARACTERS_A_TOKEN * self.prompt_tokens
            if longest > most:
                _refuse("text", f"at most {most:,} characters", f"{longest:,}")
        self._check_prompts(request, reader)
        for run in request.requests if isinstance(request, TraceBatch) else (request,):
            if isinstance(run, TraceRequest):
                self._check_run(run, reader)
        watched = getattr(request, "watch", ())
        if self.tokens_typed is not None and len(watched) > self.tokens_typed:
            _refuse("watch", f"at most {self.tokens_typed:,} tokens", f"{len(watched):,}")

    def check_queue(self, ahead: int) -> None:
        """Refuse one more piece of work where too many wait already.

        Raises:
            BusyError: more than `queue` are ahead of it.
        """
        if self.queue is not None and ahead > self.queue:
            raise BusyError(f"{ahead} runs wait before this one; this server lets {self.queue} wait. Try again soon")

    def check_seconds(self, spent: float) -> None:
        """Stop a request that took too long. spent: seconds of the model's time so far.

        Raises:
            RequestError: it took more than `seconds`.
        """
        if self.seconds is not None and spent > self.seconds:
            _refuse("work", f"at most {self.seconds:g} s of the model's time", f"more than {spent:.0f} s")

    def _check_prompts(self, request: Any, reader: TokenReader) -> None:
        prompts = list(_prompts(request))
        if self.prompts is not None and len(prompts) > self.prompts:
            _refuse("prompts", f"at most {self.prompts:,} of them", f"{len(prompts):,}")
        if self.prompt_tokens is not None:
            for prompt in prompts:
                self._check_length(len(reader.encode(prompt, add_special_tokens=True)))

    def _check_run(self, request: TraceRequest, reader: TokenReader) -> None:
        if self.modules is not None and len(request.modules) > self.modules:
            _refuse("modules", f"at most {self.modules:,} of them", f"{len(request.modules):,}")
        if self.prompt_tokens is not None:
            said = sum(len(text) for _, text in request.messages) + len(request.prompt)
            if isinstance(request.prompt, str) and said > MOST_CHARACTERS_A_TOKEN * self.prompt_tokens:
                _refuse("prompt", f"at most {self.prompt_tokens:,} tokens", "far more")
            self._check_length(_count_tokens(request, reader))
        if self.new_tokens is not None:
            forced = request.generation.forced or ()
            n_forced = len(reader.encode(forced, add_special_tokens=False)) if isinstance(forced, str) else len(forced)
            asked = max(request.generation.max_new_tokens, n_forced)
            if asked > self.new_tokens:
                _refuse("generate", f"at most {self.new_tokens:,} tokens", f"{asked:,}")

    def _check_length(self, n_tokens: int) -> None:
        if self.prompt_tokens is not None and n_tokens > self.prompt_tokens:
            _refuse("prompt", f"at most {self.prompt_tokens:,} tokens", f"{n_tokens:,}")


def _refuse(what: str, allowed: str, got: str) -> None:
    raise RequestError(
        f"{what}: expected {allowed} on this public server; got {got}. "
        "Shorten it, or run the program on your own machine"
    )


def _count_tokens(request: TraceRequest, reader: TokenReader) -> int:
    """Tokens of a request's prompt, with what was said before it."""
    if not isinstance(request.prompt, str):
        return len(request.prompt)
    if request.chat:
        return len(reader.encode_chat(request.conversation))
    return len(reader.encode(request.prompt, request.add_special_tokens))


def _prompts(request: Any) -> Iterator[str]:
    """Prompts that are run beside the request's own."""
    if isinstance(request, DirectionRequest):
        yield from (*request.positive, *request.negative)
    if isinstance(request, ActiveTextsRequest):
        yield from request.texts
    if isinstance(request, EvidenceView):
        yield from request.prompts or ()
        yield from _prompts_of_sets(request.claim.edit)
    if isinstance(request, MeasureTestRequest):
        yield from request.prompts
    if isinstance(request, CircuitRequest):
        pairs = (*request.prompts, *(request.found_in or ()))
        yield from (prompt for pair in pairs for prompt in pair if isinstance(prompt, str))
    if isinstance(request, PatchingRequest | PathPatchingRequest):
        given = request.corrupt if isinstance(request.corrupt, tuple) else ()
        yield from (prompt for prompt in (*request.clean, *given) if isinstance(prompt, str))
    if isinstance(request, SweepRequest):
        yield from request.prompts
    if isinstance(request, TraceBatch):
        yield from (run.prompt for run in request.requests if isinstance(run.prompt, str))
        for run in request.requests:
            yield from _prompts(run)
    if isinstance(request, TraceRequest):
        yield from _prompts_of_sets(request.interventions)


def _prompts_of_sets(interventions: Sequence[Intervention]) -> Iterator[str]:
    """Prompts of the sets that means are taken over, each set once."""
    sets: dict[PromptSet, None] = {}
    for each in interventions:
        if each.prompt_source is not None:
            sets[each.prompt_source] = None
    for one in sets:
        yield from one.prompts
