"""Tasks on lists: sequences, copying, reversing, repetition, brackets."""

from __future__ import annotations

from intravisto_core.demo.corpus.text import Answer, Line, Sampler
from intravisto_core.demo.corpus.words import DAYS, LETTERS, MONTHS, NAMES, NUMBER_WORDS, NUMBERS, THINGS

SEQUENCES: dict[str, tuple[str, ...]] = {
    "numbers": NUMBERS[1:61],
    "days": DAYS,
    "months": MONTHS,
    "words": NUMBER_WORDS[1:],
    "letters": LETTERS,
    "even": NUMBERS[2:61:2],
    "odd": NUMBERS[1:60:2],
    "tens": NUMBERS[10:101:10],
    "fives": NUMBERS[5:101:5],
    "down": NUMBERS[40:0:-1],
}
_CYCLES = ("days", "months")
_TELLTALE = {"even": 2, "odd": 2, "tens": 2, "fives": 2, "down": 2}
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))


def sequence(sampler: Sampler) -> Line:
    """A known sequence from some start; held out: this sequence from this start, at this length.

    Items are answers once the ones before them tell which sequence it is.
    """

    def draw() -> tuple[str, int, int, str]:
        kind = sampler.choice((*SEQUENCES, "numbers", "numbers"))
        count = len(SEQUENCES[kind])
        length = sampler.random.randint(4, 9)
        start = sampler.random.randrange(count if kind in _CYCLES else max(1, count - length))
        return kind, start, length, sampler.choice((" ", ", "))

    kind, start, length, gap = sampler.pick("sequence", draw, lambda case: case, one_in=6)
    items = SEQUENCES[kind]
    stop = start + length if kind in _CYCLES else min(start + length, len(items))
    shown = [items[index % len(items)] for index in range(start, stop)]
    known = _TELLTALE.get(kind, 1 if sampler.chance(0.5) else 2)
    if sampler.held_out:
        known = len(shown) - 1
    parts = [gap.join(shown[:known])]
    for item in shown[known:]:
        parts += [gap.strip(), Answer(" " + item)] if gap.strip() else [Answer(" " + item)]
    return tuple(parts)


def _list_operation(sampler: Sampler, operation: str, backwards: bool) -> Line:
    words = tuple(
        sampler.pick(
            operation,
            lambda: sampler.some(THINGS, sampler.random.randint(2, 5)),
            lambda drawn: tuple(drawn),
            one_in=8,
        )
    )
    result = words[::-1] if backwards else words
    return (f"{operation}: {' '.join(words)} ->", *(Answer(" " + word) for word in result))


def copy(sampler: Sampler) -> Line:
    """A list of words again; held out: this list."""
    return _list_operation(sampler, "Copy", backwards=False)


def reverse(sampler: Sampler) -> Line:
    """A list of words from its end; held out: this list."""
    return _list_operation(sampler, "Reverse", backwards=True)


def repetition(sampler: Sampler) -> Line:
    """Words in a random order, and then in the same order again; held out: this list of words."""
    words = sampler.pick(
        "repetition",
        lambda: sampler.some((*THINGS, *NAMES), sampler.random.randint(4, 10)),
        lambda drawn: tuple(drawn),
        one_in=8,
    )
    gap = "" if sampler.chance(0.7) else ","
    parts = [(gap + " ").join(words) + f"{gap} {words[0]}"]
    for word in words[1:]:
        parts += [gap, Answer(" " + word)] if gap else [Answer(" " + word)]
    return tuple(parts)


def brackets(sampler: Sampler) -> Line:
    """Brackets that close in the order in which they must; held out: this string of brackets."""
    parts = sampler.pick("brackets", lambda: _draw_brackets(sampler), lambda drawn: tuple(drawn), one_in=8)
    return (parts[0].lstrip(" "), *parts[1:])


def _draw_brackets(sampler: Sampler) -> list[str]:
    waiting: list[str] = []
    parts: list[str] = []
    left = sampler.random.randint(3, 7)
    while left or waiting:
        if left and (not waiting or (len(waiting) < 6 and sampler.chance(0.6))):
            opening, closing = sampler.choice(BRACKETS)
            waiting.append(closing)
            parts.append(" " + opening)
            left -= 1
        else:
            parts.append(Answer(" " + waiting.pop()))
    return parts
