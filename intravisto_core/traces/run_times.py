"""How long a run will take, learnt from the runs before."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

from intravisto_core.progress import relay_turns

T = TypeVar("T")

NEWEST = 0.3


class RunTimes:
    """Seconds of a model's calls: `step` for a new token, `rate` for each token of a prompt beyond that."""

    def __init__(self) -> None:
        self._step: float | None = None
        self._rate: float | None = None

    def expected(self, prompt_tokens: int, new_tokens: int) -> float | None:
        """Seconds that such a run will take, or None before anything was learnt about it."""
        if self._rate is None or (new_tokens and self._step is None):
            return None
        step = self._step or 0.0
        return step + self._rate * prompt_tokens + step * new_tokens

    def learning(self, turns: Generator[int, None, T], n_prompt: int) -> Generator[int, None, T]:
        """The same turns, each timed; what is thrown in reaches them, and waiting between them does not count."""
        before, began = 0, 0.0

        def start() -> None:
            nonlocal began
            began = time.perf_counter()

        def learn(done: int) -> int:
            nonlocal before
            self._learn(done - before, done > n_prompt, time.perf_counter() - began)
            before = done
            return done

        return relay_turns(turns, learn, start)

    def _learn(self, tokens: int, generated: bool, seconds: float) -> None:
        if tokens <= 0:
            return
        if generated and tokens == 1:
            self._step = _mixed(self._step, seconds)
        else:
            self._rate = _mixed(self._rate, max(0.0, seconds - (self._step or 0.0)) / tokens)


def _mixed(known: float | None, seen: float) -> float:
    return seen if known is None else (1 - NEWEST) * known + NEWEST * seen
