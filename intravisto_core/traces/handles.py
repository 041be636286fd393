"""How many handles of each trace there are; with the last one the trace lets go of its memory."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable
from functools import partial


class Handles:
    """Counts handles. let_go: gives back what a trace takes; False where it has to be tried again later.

    A handle may end at any moment, in any thread, inside any other call. So its end is only noted, and what follows is
    done where nobody has to be waited for: at once, or else with the next handle.
    """

    def __init__(self, let_go: Callable[[str], bool]) -> None:
        self._let_go = let_go
        self._counts: Counter[str] = Counter()
        self._ended: deque[str] = deque()
        self._waiting: deque[str] = deque()
        self._lock = threading.Lock()

    def hand_out(self, trace: str) -> Callable[[], None]:
        """One more handle; the function is called once, when it is gone."""
        with self._lock:
            self._counts[trace] += 1
        self.tidy()
        # a handle outlives the model that it was of where somebody keeps it; it must not keep that
        return partial(_end, weakref.ref(self), trace)

    def held(self, trace: str) -> bool:
        """Whether somebody has a handle of it."""
        return self._counts[trace] > 0

    def tidy(self) -> None:
        """Do what the ends of handles have left to do."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            while self._ended:
                trace = self._ended.popleft()
                self._counts[trace] -= 1
                if self._counts[trace] <= 0:
                    del self._counts[trace]
                    self._waiting.append(trace)
            for _ in range(len(self._waiting)):
                trace = self._waiting.popleft()
                if not self.held(trace) and not self._let_go(trace):
                    self._waiting.append(trace)
        finally:
            self._lock.release()

    def end(self, trace: str) -> None:
        """One handle is gone."""
        self._ended.append(trace)
        self.tidy()


def _end(handles: weakref.ref[Handles], trace: str) -> None:
    if (found := handles()) is not None:
        found.end(trace)
