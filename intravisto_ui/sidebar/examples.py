"""Prompts to start with, one a mechanism, each with a sentence on what to look for in the demo model."""

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
    "Follow the column of the last “:” upwards: half way up it says just some capital, higher up the right one.",
)
EXAMPLES = (
    DEFAULT,
    Example(
        "Two hops",
        "The language spoken in Madrid is",
        3,
        "From the city to its country to the language: below the top the prompt’s last column says a wrong language.",
    ),
    Example(
        "Two names",
        "When Mary and John went to the store, John gave a drink to",
        3,
        "Low rows of the prompt’s last column say just a name; from the middle on the one that stands there once.",
    ),
    Example(
        "Repeat",
        "sun Mary river gold fox Tom sun Mary river gold fox",
        1,
        "Words in no order, then again: the prompt’s last column comes to know what followed “fox” the first time.",
    ),
    Example(
        "Colour",
        "The ball is red. The cup is blue. The hat is green. Q: What colour is the cup? A:",
        2,
        "Low rows of the prompt’s last column say a colour nobody mentioned; from the middle on it is the cup’s.",
    ),
    Example(
        "Agreement",
        "The keys to the cabinet",
        1,
        "The verb goes with “keys”, though “cabinet” stands nearer. It comes in the topmost rows only.",
    ),
    Example(
        "Sequence",
        "1 2 3 4 5 6",
        4,
        "From the second number of the prompt on, every column says the number after the one it reads.",
    ),
    Example(
        "Opposite",
        "The opposite of cold is",
        3,
        "Half way up the prompt’s last column says “cold”, the word itself; then it turns into the opposite.",
    ),
    Example(
        "Analogy",
        "France -> Paris, Italy -> Rome, Spain ->",
        2,
        "The rule is never said. Half way up the prompt’s last column says some capital, higher up that of Spain.",
    ),
)
