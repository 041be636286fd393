"""What one service hands over and takes in, and what one client may use of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from intravisto_core.errors import BusyError, RequestError, expected

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Of the service as a whole. Sizes in bytes, times in seconds."""

    most_body: int = 64 << 20
    """Of one request's body."""
    most_answer: int = 256 << 20
    """Of one answer; a larger one is refused with the slice to ask for."""
    most_kept: int = 1 << 30
    """Of all answers that wait to be fetched; the oldest leave first, and are computed again if need be."""
    most_jobs: int = 200
    """Jobs of all clients that may wait or run."""
    body_s: float = 30.0
    """For a body to arrive."""
    keep_s: float = 600.0
    """For which an ended job is known."""
    abandoned_s: float = 120.0
    """After which a job that nobody watches or asks about is cancelled."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one client may use; None is no limit. tokens, bytes and seconds are of an hour, and come back evenly."""

    jobs: int | None = 64
    """Jobs that may wait or run at once."""
    tokens: int | None = None
    """Tokens run through a model, an hour."""
    bytes: int | None = None
    """Bytes of answers, an hour."""
    seconds: int | None = None
    """Seconds of a model's time, an hour."""

    def changed(self, words: list[str]) -> Allowance:
        """The same with some `name=number`, as a file of tokens gives them.

        Raises:
            RequestError: another name, or no whole number.
        """
        names = [f.name for f in fields(self)]
        given: dict[str, int] = {}
        for word in words:
            name, _, number = word.partition("=")
            if name not in names or not number.isdecimal():
                raise RequestError(expected("limit", f"{', '.join(names)} as name=number", word))
            given[name] = int(number)
        return replace(self, **given)


class Usage:
    """What one client has used lately. clock: seconds, for tests."""

    def __init__(self, allowance: Allowance, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowance = allowance
        self.open_jobs = 0
        self._clock = clock
        self._spent = {"tokens": 0.0, "bytes": 0.0, "seconds": 0.0}
        self._when = clock()

    def check(self) -> None:
        """Whether one more job may begin.

        Raises:
            BusyError: not now; says what is used up, and when to come again.
        """
        self._let_come_back()
        most = self.allowance.jobs
        if most is not None and self.open_jobs >= most:
            raise BusyError(f"jobs: expected at most {most} at once of one client; wait until one has ended", 1.0)
        for name, spent in self._spent.items():
            limit = getattr(self.allowance, name)
            if limit is not None and spent >= limit:
                after = (spent - limit) * HOUR_S / max(1, limit) + 1.0
                raise BusyError(
                    f"{name}: expected at most {limit:,} an hour of one client; they are used up. Come again in "
                    f"{after:.0f} s",
                    after,
                )

    def charge(self, tokens: int = 0, nbytes: int = 0, seconds: float = 0.0) -> None:
        """Note what a job took."""
        self._let_come_back()
        self._spent["tokens"] += tokens
        self._spent["bytes"] += nbytes
        self._spent["seconds"] += seconds

    def _let_come_back(self) -> None:
        now = self._clock()
        passed, self._when = now - self._when, now
        for name in self._spent:
            limit = getattr(self.allowance, name)
            if limit is not None:
                self._spent[name] = max(0.0, self._spent[name] - passed * limit / HOUR_S)
