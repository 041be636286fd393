"""Prompts to start with, one a mechanism: for the demo model, for models of English text, and for those that chat."""

from __future__ import annotations

from dataclasses import dataclass

from intravisto_core.request import ModelSpec
from intravisto_ui.session.settings import DEMO


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, how long to go on after it, and what to look for. chat: it is what a user says in a conversation."""

    name: str
    prompt: str
    max_new_tokens: int
    look: str
    chat: bool = False


# Written for the demo model, which knows nothing else; the first one is a newcomer's first picture.
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

BESIDE_CHAT = 3
# For any model that has read English. What is to be seen is what such models commonly do; a small one may not.
ENGLISH = (
    Example(
        "Fact",
        "The Eiffel Tower is in the city of",
        5,
        "Follow the prompt’s last column upwards: in which row does the city come up, and what stood there before?",
    ),
    Example(
        "Two names",
        "When Mary and John went to the store, John gave a drink to",
        3,
        "Two names serve up to some row; which row leaves just the one that stands there once?",
    ),
    Example(
        "Repeat",
        "apple river seven Mary cloud green apple river seven Mary cloud",
        2,
        "Words in no order, then again: compare a column of the first round with the same word’s in the second.",
    ),
    Example(
        "Agreement",
        "The keys to the cabinet",
        3,
        "The verb goes with “keys”, though “cabinet” stands nearer. In which row is it decided?",
    ),
    Example(
        "Sequence",
        "Monday, Tuesday, Wednesday, Thursday,",
        4,
        "From which comma on do the top rows say the day that comes next?",
    ),
    Example(
        "Opposite",
        "hot is to cold as big is to",
        3,
        "Which rows of the prompt’s last column say “big” itself, or a word beside it, before the opposite?",
    ),
)
CHAT = (
    Example(
        "Question",
        "What is the capital of France?",
        12,
        "In which row does the city come up, and at which word of the answer first?",
        chat=True,
    ),
    Example(
        "Colour",
        "What color is the sky?",
        12,
        "Which column first holds the colour in a row half way up, before it is said?",
        chat=True,
    ),
    Example(
        "List",
        "Name the first three months of the year.",
        16,
        "From which row on does each comma’s column say the month that comes next?",
        chat=True,
    ),
)


def list_examples(spec: ModelSpec | None, chat: bool) -> tuple[Example, ...]:
    """Examples that fit a model: the demo model's own, else plain English texts; a chat model has questions too.

    chat: whether the model has a template for conversations. Base models have none, and go on from plain texts alone.
    """
    if spec is None or spec.source == DEMO:
        return EXAMPLES
    return (*CHAT, *ENGLISH[:BESIDE_CHAT]) if chat else ENGLISH
