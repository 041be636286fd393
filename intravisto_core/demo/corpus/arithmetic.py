"""Sums of small numbers, in digits and in words."""

from __future__ import annotations

from intravisto_core.demo.corpus.text import Answer, Line, Sampler
from intravisto_core.demo.corpus.words import NUMBER_WORDS

LARGEST = 10
WORDINGS = ("{} + {} =", "{} + {} =", "{} plus {} is", "Q: What is {} + {}? A:", "Q: What is {} plus {}? A:")


def addition(sampler: Sampler) -> Line:
    """One to three sums; held out: the two numbers, in either order."""
    wording = sampler.choice(WORDINGS)
    in_words = "plus" in wording and sampler.chance(0.4)
    parts: list[str] = []
    for _ in range(1 if sampler.chance(0.4) else 3):
        a, b = sampler.pick(
            "addition",
            lambda: (sampler.random.randint(0, LARGEST), sampler.random.randint(0, LARGEST)),
            lambda pair: tuple(sorted(pair)),
            one_in=8,
        )
        shown = [NUMBER_WORDS[number] if in_words else str(number) for number in (a, b, a + b)]
        parts += [(", " if parts else "") + wording.format(*shown[:2]), Answer(" " + shown[2])]
    return (*parts, ".")
