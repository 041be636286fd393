"""A run of the model, and how its text goes on."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import (
    TraceId,
    Turn,
    check,
    check_whole,
    read_messages,
    read_tokens,
    read_whole_numbers,
)
from intravisto_core.request.fields import list_of
from intravisto_core.request.interventions import Intervention
from intravisto_core.request.modules import ModulePaths
from intravisto_core.sites import Site, TextMode

MAX_NEW_TOKENS = 1024
MOST_PROMPTS = 10_000


def _read_stop(value: Any, name: str) -> tuple[int | str, ...]:
    try:
        return read_tokens(value, name)
    except RequestError:
        raise RequestError(expected(name, "token ids or texts that are not empty", value)) from None


def _read_forced(value: Any, name: str) -> str | tuple[int, ...] | None:
    if value is None or isinstance(value, str):
        return value
    return read_whole_numbers(value, name, "a text, token ids, or None")


def _read_prompt(value: Any, name: str) -> str | tuple[int, ...]:
    prompt = value if isinstance(value, str) else read_whole_numbers(value, name, "a text, or token ids")
    if not prompt:
        raise RequestError(f"{name}: expected at least one token; got an empty text. Type something to trace.")
    return prompt


def read_sites(value: Any, name: str) -> tuple[Site, ...] | None:
    """Sites in the order of the set, each once; None is all of them."""
    if value is None:
        return None
    chosen = {Site.parse(site, name) for site in list_of(value)}
    return tuple(site for site in Site if site in chosen)


def _read_interventions(value: Any, name: str) -> tuple[Intervention, ...]:
    edits = tuple(list_of(value))
    check(all(isinstance(i, Intervention) for i in edits), name, "Replace, KnockOut and the like", value)
    return edits


@frozen_request
class Generation:
    """How the text goes on after the prompt. Greedy unless a temperature is given.

    max_new_tokens: 0 to 1,024. temperature: above 0, or None for greedy. top_k, top_p: cut-offs before drawing.
    seed: of the counter generator (docs/methods.md §8). stop: token ids, or texts that end the run where they appear.
    forced: a text, or token ids, that the continuation begins with; it is run whole even if `max_new_tokens` is less.
    """

    max_new_tokens: int = 0
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    stop: Annotated[tuple[int | str, ...], _read_stop] = ()
    forced: Annotated[str | tuple[int, ...] | None, _read_forced] = None

    def __post_init__(self) -> None:
        t, p = self.temperature, self.top_p
        check_whole(self.max_new_tokens, "max_new_tokens", 0, MAX_NEW_TOKENS)
        check(t is None or t > 0, "temperature", "a number above 0, or None for greedy", t)
        check_whole(self.top_k, "top_k", 1, allowed="a whole number from 1, or None")
        check(p is None or 0 < p <= 1, "top_p", "a number above 0, at most 1, or None", p)
        check_whole(self.seed, "seed", 0, 2**63 - 1, "a whole number from 0")
        cut = self.top_k is not None or p is not None
        check(t is not None or not cut, "temperature", "a number, since top_k or top_p is set", t)


@frozen_request
class TraceRequest:
    """One run of the model over a prompt, and what is kept of it.

    prompt: text, or token ids taken as they are. sites: what is captured; None is everything.
    chat: the prompt is what the user says, and the model's own chat template writes the text around it: roles, their
    markers, the opening of the answer. messages: what was said before, as (role, text), in order.
    interventions: what is changed inside, in this order at one site. baseline: the id of the unedited trace that the
    run is held against; "" makes one first. text: "held" feeds the baseline's tokens, "free" goes on by itself.
    modules: what is kept besides, of any module of the model's tree: `"model.layers.3.mlp"` is what it returns,
    `"model.layers.-1.self_attn.o_proj:input"` its first input; negative numbers count from the last.
    """

    prompt: Annotated[str | tuple[int, ...], _read_prompt]
    generation: Generation = field(default_factory=Generation)
    add_special_tokens: bool = True
    sites: Annotated[tuple[Site, ...] | None, read_sites] = None
    chat: bool = False
    messages: Annotated[tuple[Turn, ...], read_messages] = ()
    interventions: Annotated[tuple[Intervention, ...], _read_interventions] = ()
    baseline: TraceId = ""
    text: TextMode = TextMode.FREE
    modules: ModulePaths = ()

    def __post_init__(self) -> None:
        check(bool(self.interventions) or not self.baseline, "baseline", "none, since nothing is edited", self.baseline)
        check(self.chat or not self.messages, "chat", "True, since messages are given", self.chat)
        check(not self.chat or isinstance(self.prompt, str), "prompt", "a text, since chat is on", self.prompt)

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """All that was said, the prompt last, as (role, text)."""
        return (*self.messages, ("user", str(self.prompt)))


def _read_requests(value: Any, name: str) -> tuple[TraceRequest, ...]:
    found = tuple(list_of(value))
    good = 0 < len(found) <= MOST_PROMPTS and all(isinstance(one, TraceRequest) for one in found)
    check(good, name, f"1 to {MOST_PROMPTS:,} TraceRequests", f"{len(found):,} things")
    check(not any(one.baseline for one in found), name, "runs without a baseline of their own", "one with a baseline")
    return found


@frozen_request
class TraceBatch:
    """Many runs, answered by a list: each place holds the trace, or the error of that prompt alone.

    Prompts are run together in padded batches where each then equals its run alone, else one by one.
    """

    requests: Annotated[tuple[TraceRequest, ...], _read_requests]


Request = TraceRequest | TraceBatch | View[Any]
