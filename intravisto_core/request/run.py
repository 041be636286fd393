"""A run of the model, and how its text goes on."""

from __future__ import annotations

from dataclasses import field

from intravisto_core.errors import RequestError
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import Turn, check, is_number, is_whole, put, texts, turns, whole
from intravisto_core.request.interventions import Intervention
from intravisto_core.sites import Site, TextMode

MAX_NEW_TOKENS = 1024


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
    stop: tuple[int | str, ...] = ()
    forced: str | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        n, t, k, p = self.max_new_tokens, self.temperature, self.top_k, self.top_p
        check(is_whole(n, 0, MAX_NEW_TOKENS), "max_new_tokens", f"0 to {MAX_NEW_TOKENS}", n)
        check(t is None or (is_number(t) and t > 0), "temperature", "a number above 0, or None for greedy", t)
        check(k is None or is_whole(k, 1, 2**31), "top_k", "a whole number from 1, or None", k)
        check(p is None or (is_number(p) and 0 < p <= 1), "top_p", "a number above 0, at most 1, or None", p)
        check(is_whole(self.seed, 0, 2**63 - 1), "seed", "a whole number from 0", self.seed)
        check(
            t is not None or (k is None and p is None),
            "temperature",
            "a number, since top_k or top_p is set",
            t,
        )
        put(self, stop=texts(self.stop))
        check(all(s != "" for s in self.stop), "stop", "token ids or texts that are not empty", self.stop)
        if self.forced is not None and not isinstance(self.forced, str):
            put(self, forced=whole(self.forced, "forced", "a text, token ids, or None"))


@frozen_request
class TraceRequest:
    """One run of the model over a prompt, and what is kept of it.

    prompt: text, or token ids taken as they are. sites: what is captured; None is everything.
    chat: the prompt is what the user says, and the model's own chat template writes the text around it: roles, their
    markers, the opening of the answer. messages: what was said before, as (role, text), in order.
    interventions: what is changed inside, in this order at one site. baseline: the id of the unedited trace that the
    run is held against; "" makes one first. text: "held" feeds the baseline's tokens, "free" goes on by itself.
    """

    prompt: str | tuple[int, ...]
    generation: Generation = field(default_factory=Generation)
    add_special_tokens: bool = True
    sites: tuple[Site, ...] | None = None
    chat: bool = False
    messages: tuple[Turn, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    baseline: str = ""
    text: TextMode = TextMode.FREE

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            put(self, prompt=whole(self.prompt, "prompt", "a text, or token ids"))
        if not self.prompt:
            raise RequestError("prompt: expected at least one token; got an empty text. Type something to trace.")
        check(isinstance(self.generation, Generation), "generation", "a Generation", self.generation)
        if self.sites is not None:
            chosen = {Site.parse(s, "sites") for s in self.sites}
            put(self, sites=tuple(s for s in Site if s in chosen))
        put(self, interventions=tuple(self.interventions), text=TextMode.parse(self.text, "text"))
        edits = self.interventions
        check(all(isinstance(i, Intervention) for i in edits), "interventions", "Replace, KnockOut and the like", edits)
        check(bool(edits) or not self.baseline, "baseline", "none, since nothing is edited", self.baseline)
        put(self, messages=turns(self.messages))
        check(isinstance(self.chat, bool), "chat", "True or False", self.chat)
        check(self.chat or not self.messages, "chat", "True, since messages are given", self.chat)
        check(not self.chat or isinstance(self.prompt, str), "prompt", "a text, since chat is on", self.prompt)

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """All that was said, the prompt last, as (role, text)."""
        return (*self.messages, ("user", str(self.prompt)))
