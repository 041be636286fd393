"""Prompts to start with, each with one sentence on what to look for in the demo model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, how long to go on after it, and what to look for."""

    name: str
    prompt: str
    max_new_tokens: int
    look: str


DEFAULT = Example(
    "Fact",
    "Q: What is the capital of Italy? A:",
    10,
    "Follow the column of the last “:” upwards: the answer is not there at the bottom and comes in the upper half.",
)
EXAMPLES = (
    DEFAULT,
    Example(
        "Two names",
        "Mary and John went to the park. John gave a book to",
        3,
        "The last column of the prompt says who received the book: the name that stands there only once.",
    ),
    Example(
        "Sequence",
        "1 2 3 4 5 6",
        4,
        "From the second number of the prompt on, every column says the number after the one it reads.",
    ),
)
