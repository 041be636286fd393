"""How long a run will take, learnt from the runs before."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

from intravisto_core.progress import relay_turns

T = TypeVar("T")

NEWEST = 0.3


class RunTimes:
    """Seconds of a model's calls: `step` for a new token, and for each token of a prompt beyond that its rate.

    The rate is a quotient of sums, so that a long prompt says more about it than a short one, whose few tokens take
    hardly longer than one.
    """

    def __init__(self) -> None:
        self._step: float | None = None
        self._read_s, self._read_tokens = 0.0, 0.0

    def expected(self, prompt_tokens: int, new_tokens: int) -> float | None:
        """Seconds that such a run will take, or None before anything was learnt about it."""
        if not self._read_tokens or (new_tokens and self._step is None):
            return None
        step = self._step or 0.0
        return step + self._read_s / self._read_tokens * prompt_tokens + step * new_tokens

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
            beyond = max(0.0, seconds - (self._step or 0.0))
            self._read_s = (1 - NEWEST) * self._read_s + beyond
            self._read_tokens = (1 - NEWEST) * self._read_tokens + tokens


def _mixed(known: float | None, seen: float) -> float:
    return seen if known is None else (1 - NEWEST) * known + NEWEST * seen
