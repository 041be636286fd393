"""What the corpus is made of: lines whose parts are plain text or answers, and the tool that draws them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

Drawn = TypeVar("Drawn")
Item = TypeVar("Item")


class Answer(str):
    """A part of a line that follows from the parts before it, so that a model can be asked for it."""

    __slots__ = ()


Line = tuple[str, ...]
"""Parts in order; their concatenation is the text. Parts meet only where the tokenizer would split anyway."""


def fill(template: str, answer: str, **words: str) -> Line:
    """The template with its fields filled and its `@` replaced by the answer with a leading space."""
    before, after = template.format(**words).split("@")
    return (before, Answer(" " + answer), after)


def text_of(line: Line) -> str:
    """The text of a line, answers included."""
    return "".join(line)


@lru_cache(maxsize=50_000)
def is_held_out(task: str, key: tuple[object, ...], one_in: int) -> bool:
    """Whether this case of a task is kept out of the training text: about one case in `one_in`.

    Depends on nothing but its arguments, so that training and evaluation agree without sharing a list.
    """
    digest = hashlib.blake2b(repr((task, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % one_in == 0


class Sampler:
    """Draws lines at random, either only from the training cases or only from those held out."""

    def __init__(self, seed: int, held_out: bool = False) -> None:
        self.random = random.Random(seed)
        self.held_out = held_out

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items, all equally likely."""
        return items[int(self.random.random() * len(items))]

    def some(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different items, in random order."""
        return self.random.sample(items, count)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random.random() < probability

    def pick(
        self, task: str, draw: Callable[[], Drawn], key: Callable[[Drawn], tuple[object, ...]], one_in: int
    ) -> Drawn:
        """The first draw whose key is on this sampler's side of the split.

        Raises:
            RuntimeError: if a thousand draws were all on the other side: one side of the split is empty.
        """
        for _ in range(1000):
            drawn = draw()
            if is_held_out(task, key(drawn), one_in) == self.held_out:
                return drawn
        raise RuntimeError(f"task {task!r}: expected cases on both sides of the split, found none on one")
