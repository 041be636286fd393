"""How far something is: bytes done and in all, 0 of 0 where they are not known, and what is being done."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[int, int, str], None]


def quiet(done: int, total: int, text: str) -> None:
    """Tells nobody."""
