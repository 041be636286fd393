"""Tasks about words: agreement in number, opposites, set phrases."""

from __future__ import annotations

from intravisto_core.demo.corpus.text import Answer, Line, Sampler, fill
from intravisto_core.demo.corpus.words import (
    ADJECTIVES,
    OBJECTS,
    OPPOSITES,
    PLACES,
    SUBJECTS,
    plural,
    with_article,
)

PREPOSITIONS = ("near", "behind", "beside", "with", "by", "under", "to")
VERBS = (
    ("is", "are"),
    ("was", "were"),
    ("has", "have"),
    ("runs", "run"),
    ("likes", "like"),
    ("sleeps", "sleep"),
)
OPPOSITE_TEMPLATES = (
    "Q: What is the opposite of {a}? A:@.",
    "The opposite of {a} is@.",
    "{a} is the opposite of@.",
    "Something is not {a} but@.",
    "Question: Which word is the opposite of {a}? Answer:@.",
    "If it is not {a}, it is@.",
    "As we know, the opposite of {a} is@.",
    "{a} and its opposite,@.",
)
PHRASES = (
    "Once upon a time there was a king who lived in a big house.",
    "Once upon a time there was a girl who had a red book.",
    "Hello world, this is a small model of the world.",
    "Hello, how are you? I am good, and you?",
    "The cat sat on the mat and the dog sat on the floor.",
    "The quick brown fox jumps over the lazy dog.",
    "To be or not to be, that is the question.",
    "I think, therefore I am.",
    "This is a test of a small language model.",
    "The sky is blue, the sun is yellow and the snow is white.",
    "The Earth goes around the sun, and the moon goes around the Earth.",
    "Good morning, my friend. What is your name?",
    "Thank you very much for the gift.",
    "What is the meaning of life?",
    "One day the child found a key under the door.",
)
_PAIRS = (*OPPOSITES, *((b, a) for a, b in OPPOSITES))


def agreement(sampler: Sampler) -> Line:
    """The verb agrees with the subject, not with a noun in between; held out: the two nouns together."""
    noun, other = sampler.pick(
        "agreement",
        lambda: tuple(sampler.some(SUBJECTS, 2)),
        lambda nouns: nouns,
        one_in=6,
    )
    many, many_others = sampler.chance(0.5), sampler.chance(0.5)
    singular, plural_form = sampler.choice(VERBS)
    adjective = sampler.choice(ADJECTIVES) + " " if sampler.chance(0.3) else ""
    subject = f"The {adjective}{plural(noun) if many else noun}"
    between = sampler.held_out or sampler.chance(0.7)
    if between:
        subject += f" {sampler.choice(PREPOSITIONS)} the {plural(other) if many_others else other}"
    if between and sampler.chance(0.2):
        subject += f" in the {sampler.choice(PLACES)}"
    endings = {
        "is": sampler.choice(ADJECTIVES),
        "was": sampler.choice(ADJECTIVES),
        "has": with_article(sampler.choice(OBJECTS)),
        "runs": "fast",
        "likes": "the " + sampler.choice(OBJECTS),
        "sleeps": "well",
    }
    return (subject, Answer(" " + (plural_form if many else singular)), f" {endings[singular]}.")


def opposite(sampler: Sampler) -> Line:
    """The opposite of a word; held out: this word in this wording."""
    pair, index = sampler.pick(
        "opposite",
        lambda: (sampler.choice(_PAIRS), sampler.random.randrange(len(OPPOSITE_TEMPLATES))),
        lambda case: (case[0][0], case[1]),
        one_in=6,
    )
    return fill(OPPOSITE_TEMPLATES[index], pair[1], a=pair[0])


def opposite_list(sampler: Sampler) -> Line:
    """Pairs of opposites in a row; a task with no held-out cases."""
    pairs = [sampler.choice(((a, b), (b, a))) for a, b in sampler.some(OPPOSITES, sampler.choice((2, 3, 4)))]
    arrow, stop = sampler.choice(((" ->", ","), (":", ","), (" and", ","), (" ->", "\n"), (":", "\n")))
    parts: list[str] = []
    for word, other in pairs:
        lead = "" if not parts else stop + ("" if stop == "\n" else " ")
        parts += [f"{lead}{word}{arrow}", Answer(" " + other)]
    return tuple(parts)


def phrase(sampler: Sampler) -> Line:
    """A sentence that people like to type; a task with no held-out cases."""
    return (sampler.choice(PHRASES),)
