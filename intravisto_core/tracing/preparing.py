"""From a request to the ids of a run.

What a model brings to this, its chat template and perhaps its tokenizer, is a program of strangers, and may take
seconds. Meanwhile others have their turns, and a cancel ends it at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Generator as Turns
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from intravisto_core.errors import RequestError
from intravisto_core.limited import Stop
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.request import TraceRequest
from intravisto_core.request.fields import walk_values

T = TypeVar("T")

LONG_TEXT = 100_000
"""Characters from which on tokenizing takes long enough to do it apart."""
_TURN_S = 0.02


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run ready to start.

    forced: ids that the continuation begins with, run in one go. n_new: new tokens in all. replay: new tokens of an
    earlier run, fed one by one instead of being chosen, so that the schedule of calls is the same.
    """

    prompt: tuple[int, ...]
    forced: tuple[int, ...]
    n_new: int
    notes: tuple[str, ...] = ()
    replay: tuple[int, ...] = ()

    @classmethod
    def replaying(cls, ids: tuple[int, ...], prompt_length: int, forced_length: int) -> Prepared:
        """An earlier run's ids, to be fed by its own schedule of calls."""
        forced = ids[prompt_length : prompt_length + forced_length]
        return cls(ids[:prompt_length], forced, len(ids) - prompt_length, replay=ids[prompt_length:])

    def before(self, stop: int) -> Prepared:
        """The same run without the positions from `stop` on."""
        new = max(0, min(self.n_new, stop - len(self.prompt)))
        return replace(self, prompt=self.prompt[:stop], forced=self.forced[:new], n_new=new, replay=self.replay[:new])


def prepare(model: LoadedModel, request: TraceRequest) -> Prepared:
    """Turn a request into ids and check them against the model.

    Raises:
        RequestError: no token, an id that the model lacks, or a prompt longer than the context.
    """
    generation, context = request.generation, model.dimensions.context
    if request.chat:
        prompt = tuple(model.reader.encode_chat(request.conversation))
    elif isinstance(request.prompt, str):
        prompt = tuple(model.reader.encode(request.prompt, request.add_special_tokens))
    else:
        prompt = request.prompt
    if not prompt:
        raise RequestError("prompt: expected at least one token; got none. Type something to trace.")
    forced = generation.forced or ()
    if isinstance(forced, str):
        forced = tuple(model.reader.encode(forced, add_special_tokens=False))
    n_ids = model.weights.n_rows("embed")
    for i in (*prompt, *forced):
        if not 0 <= i < n_ids:
            raise RequestError(f"token id: expected 0 to {n_ids - 1}; got {i}")
    length, n_new, notes = len(prompt), max(generation.max_new_tokens, len(forced)), []
    if context and length + len(forced) > context:
        raise RequestError(
            f"prompt: expected at most {context} tokens, this model's context; got {length + len(forced)}. Shorten it"
        )
    if context and length + n_new > context:
        n_new = context - length
        notes.append(f"stopped at the model's context of {context} tokens")
    if request.chat and (own := model.reader.own_system_prompt(request.conversation)):
        notes.append(f"the model's chat template adds a system prompt of its own: “{own}”")
    if start := model.reader.doubled_start(prompt):
        notes.append(f"begins with the start token {start} twice: models are trained with one")
    return Prepared(prompt, forced, n_new, tuple(notes))


def prepare_in_turns(model: LoadedModel, request: TraceRequest) -> Turns[Progress, None, Prepared]:
    """The same as `prepare`; what may take long is done in a thread of its own, and ended where this generator is.

    Raises:
        RequestError: see `prepare`.
    """
    if not _may_take_long(model, request):
        return prepare(model, request)
    return (yield from _apart(lambda: prepare(model, request), "reading the prompt"))


def read_typed_in_turns(model: LoadedModel, request: object) -> Turns[Progress, None, None]:
    """Of a model whose tokenizer has limits: let it read what a request names tokens with, before the model has its
    turn. It remembers them, so that whoever needs them then does not wait."""
    if not model.reader.is_limited:
        return
    # prompts are read by `prepare_in_turns`
    within = request.interventions if isinstance(request, TraceRequest) else request
    texts = {text for text in walk_values(within) if type(text) is str}

    def read() -> None:
        for text in texts:
            with suppress(RequestError):
                model.reader.encode(text, add_special_tokens=False)

    if texts:
        yield from _apart(read, "reading the tokens")


def _apart(work: Callable[[], T], words: str) -> Turns[Progress, None, T]:
    """Work in a thread of its own, which is asked to stop where this generator is ended."""
    found: list[T] = []
    failed: list[Exception] = []
    stop = Stop()

    def act() -> None:
        try:
            with stop.heeded():
                found.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=act, name="intravisto-preparing", daemon=True)
    thread.start()
    try:
        while True:
            thread.join(_TURN_S)
            if not thread.is_alive():
                break
            yield Progress(0, 0, words, elsewhere=True)
    finally:
        stop.ask()
    if failed:
        raise failed[0]
    return found[0]


def _may_take_long(model: LoadedModel, request: TraceRequest) -> bool:
    texts = [text for text in (request.prompt, request.generation.forced) if isinstance(text, str)]
    return bool(texts) and (request.chat or model.reader.is_limited or max(map(len, texts)) > LONG_TEXT)
