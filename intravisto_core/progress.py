"""How far long work is, and the one loop that drives work done in turns.

Long work is a generator: each `next` does a part of it and yields how far it is; its return value is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

Step = TypeVar("Step")
Told = TypeVar("Told")
Result = TypeVar("Result")

# Is told bytes done and bytes in all (0 of 0 where they are not known), and what is being done.
Report = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `done` of `total` steps, and what the last one was.

    partial: what can be shown of the result by now, or None. elsewhere: whether the work waits for something outside
    this process, and others may go first.
    """

    done: int = 0
    total: int = 0
    text: str = ""
    partial: object = None
    elsewhere: bool = False


def quiet(done: int, total: int, text: str) -> None:
    """A `Report` that tells nobody."""


def _nothing() -> None:
    return None


def relay_turns(
    turns: Generator[Step, None, Result],
    describe: Callable[[Step], Told | None],
    on_turn: Callable[[], None] = _nothing,
) -> Generator[Told, None, Result]:
    """The same work, each turn described in other words.

    An exception that is thrown in (a cancelled job) reaches the inner work, which may still return a result.

    turns: the work. describe: what to yield for a turn; None yields nothing, and the next turn follows at once.
    on_turn: called before each turn of the inner work begins.
    """
    thrown: Exception | None = None
    while True:
        on_turn()
        try:
            step = next(turns) if thrown is None else turns.throw(thrown)
        except StopIteration as end:
            result: Result = end.value
            return result
        thrown = None
        told = describe(step)
        if told is None:
            continue
        try:
            yield told
        except Exception as error:
            thrown = error


def always(told: Told) -> Callable[[object], Told]:
    """What `relay_turns` is to say of every turn: the same."""
    return lambda _: told


def finish_turns(turns: Generator[Step, None, Result]) -> Result:
    """Do all of the work now and return its result."""
    silent: Generator[None, None, Result] = relay_turns(turns, lambda _: None)
    try:
        next(silent)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("a silent relay yields nothing")


def relay_positions(turns: Generator[int, None, Result], total: int, text: str) -> Generator[Progress, None, Result]:
    """Work that yields how many steps are done, as progress of `total` steps."""
    return relay_turns(turns, lambda done: Progress(done, total, text))
