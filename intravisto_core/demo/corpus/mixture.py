"""How often each task occurs, and how lines become documents."""

from __future__ import annotations

from collections.abc import Callable

from intravisto_core.demo.corpus import arithmetic, facts, language, lists, people, recall
from intravisto_core.demo.corpus.text import Line, Sampler

Task = Callable[[Sampler], Line]

TASKS: dict[str, tuple[Task, float]] = {
    "fact": (facts.fact, 0.12),
    "reverse fact": (facts.reverse_fact, 0.08),
    "two hop": (facts.two_hop, 0.13),
    "analogy": (facts.analogy, 0.03),
    "landmark": (facts.landmark, 0.01),
    "introduction": (facts.introduction, 0.01),
    "indirect object": (people.indirect_object, 0.15),
    "where is": (people.where_is, 0.05),
    "pronoun": (people.pronoun, 0.01),
    "agreement": (language.agreement, 0.05),
    "opposite": (language.opposite, 0.03),
    "opposite list": (language.opposite_list, 0.01),
    "phrase": (language.phrase, 0.01),
    "sequence": (lists.sequence, 0.05),
    "copy": (lists.copy, 0.03),
    "reverse": (lists.reverse, 0.02),
    "repetition": (lists.repetition, 0.04),
    "brackets": (lists.brackets, 0.02),
    "colour": (recall.colour, 0.14),
    "addition": (arithmetic.addition, 0.01),
}
_NAMES = tuple(TASKS)
_WEIGHTS = tuple(weight for _, weight in TASKS.values())


def document(sampler: Sampler) -> Line:
    """One document: a line, or a few joined by newlines, of one task or of several."""
    if sampler.chance(0.8):
        return line(sampler, _draw_task(sampler))
    same = _draw_task(sampler) if sampler.chance(0.6) else None
    parts: list[str] = []
    for _ in range(sampler.choice((2, 2, 3))):
        parts += ["\n"] if parts else []
        parts += line(sampler, same or _draw_task(sampler))
    return tuple(parts)


def line(sampler: Sampler, task: str) -> Line:
    """One line of a task."""
    return TASKS[task][0](sampler)


def _draw_task(sampler: Sampler) -> str:
    return sampler.random.choices(_NAMES, _WEIGHTS)[0]
