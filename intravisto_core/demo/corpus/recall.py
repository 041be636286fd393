"""Tasks answered from the context alone: the colours of things."""

from __future__ import annotations

from intravisto_core.demo.corpus.text import Answer, Line, Sampler
from intravisto_core.demo.corpus.words import COLOURS, NAMES, OBJECTS, with_article

QUESTIONS = (
    " Q: What colour is the {o}? A:",
    " Q: What color is the {o}? A:",
    " So the colour of the {o} is",
    " The {o} is",
    " The colour of the {o} is",
)


def colour(sampler: Sampler) -> Line:
    """The colours of two to five things, then several questions; held out: these things in these colours."""

    def draw() -> tuple[list[str], list[str]]:
        count = sampler.choice((2, 2, 3, 3, 4, 5))
        return sampler.some(OBJECTS, count), sampler.some(COLOURS, count)

    objects, colours = sampler.pick("colour", draw, lambda case: tuple(sorted(zip(*case, strict=True))), 8)
    pairs = list(zip(objects, colours, strict=True))
    asked = sampler.some(pairs, sampler.random.randint(1, len(pairs)))
    return _table(pairs, asked, sampler.choice(("", ":"))) if sampler.chance(0.2) else _story(sampler, pairs, asked)


def _story(sampler: Sampler, pairs: list[tuple[str, str]], asked: list[tuple[str, str]]) -> Line:
    parts = [_statement(sampler, pairs)]
    question = sampler.choice(QUESTIONS)
    for thing, its_colour in asked:
        parts += [question.format(o=thing), Answer(" " + its_colour), "."]
        if sampler.chance(0.25):
            question = sampler.choice(QUESTIONS)
    return tuple(parts)


def _table(pairs: list[tuple[str, str]], asked: list[tuple[str, str]], mark: str) -> Line:
    """The plainest form, from which the others are learnt sooner: thing, colour, thing, colour."""
    parts = ["Colours: " + ", ".join(f"{thing}{mark} {colour}" for thing, colour in pairs) + "."]
    for thing, its_colour in asked:
        parts += [f" {thing}{mark}", Answer(" " + its_colour), "."]
    return tuple(parts)


def _statement(sampler: Sampler, pairs: list[tuple[str, str]]) -> str:
    style = sampler.random.random()
    if style < 0.6:
        return " ".join(f"The {thing} is {colour}." for thing, colour in pairs)
    listed = [with_article(f"{colour} {thing}") for thing, colour in pairs]
    together = ", ".join(listed[:-1]) + " and " + listed[-1] + "."
    return ("There is " if style < 0.8 else f"{sampler.choice(NAMES)} has ") + together
