"""Tasks about people: who receives the object, who is where, he and she."""

from __future__ import annotations

from intravisto_core.demo.corpus.text import Answer, Line, Sampler
from intravisto_core.demo.corpus.words import ADJECTIVES, MEN, NAMES, OBJECTS, PLACES, WOMEN, with_article

SCENES = (
    "When {pair} went to the {p}, ",
    "After {pair} arrived at the {p}, ",
    "While {pair} were walking to the {p}, ",
    "{pair} were at the {p}. ",
    "{pair} met at the {p}, and ",
    "Then {pair} had lunch at the {p}, and ",
    "Yesterday {pair} visited the {p}. Later ",
    "{a} met {b} near the {p}. Then ",
    "{a} saw {b} at the {p}, and ",
    "{a} was in the {p} when {b} arrived. Soon ",
    "At the {p}, {a} was talking to {b}. ",
    "{a} and {b} are friends. At the {p}, ",
    "One day {a} found {b} in the {p}, so ",
    "Then, {pair} went to the {p}. ",
)
NEW_SCENES = (
    "Once {pair} got to the {p}, ",
    "Today {pair} were walking near the {p}, and ",
    "Friends {a} and {b} found {a_o} at the {p}. Then ",
    "One morning {a} was at the {p} with {b}, so ",
)
PAIRS = ("{a} and {b}", "{a} and {b}", "{a} and then {b}", "both {a} and {b}", "{a} and the {j} {b}")
GIFTS = (
    "{s} gave {a_o} to",
    "{s} gave the {o} to",
    "{s} handed the {j} {o} to",
    "{s} passed {a_o} to",
    "{s} sent the {j} {o} to",
    "{s} showed the {o} to",
    "{s} offered {a_o} to",
    "{s} decided to give {a_o} to",
    "{s} wanted to give the {o} to",
    "{s} said hello to",
    "{s} said goodbye to",
    "{s} was talking to",
)
ASIDES = (
    "The day was {j}. ",
    "The {o} was {j}. ",
    "{c} was at home because {c} was {j}. ",
    "{c} said that {c} had {a_o}. ",
    "{c} could not see {c}'s {o}. ",
)
OPENERS = ("One day, ", "In the morning, ", "Once upon a time, ", "Last night, ", "Today, ")


def indirect_object(sampler: Sampler, new_template: bool = False) -> Line:
    """Who receives: the one name that was said only once. Held out: the two names together.

    Whoever else is named is named twice, and either of the two may come first and give, so that only the
    names themselves, never their places, tell the answer.

    new_template: take a scene that the training text never uses.
    """
    giver, receiver = sampler.pick(
        "indirect object",
        lambda: tuple(sampler.some(NAMES, 2)),
        lambda pair: tuple(sorted(pair)),
        one_in=6,
    )
    others = [name for name in sampler.some(NAMES, 4) if name not in (giver, receiver)]
    words = {"p": sampler.choice(PLACES), "o": sampler.choice(OBJECTS), "j": sampler.choice(ADJECTIVES)}
    words |= {"s": giver, "c": others[0], "a_o": with_article(words["o"])}
    words["a"], words["b"] = (giver, receiver) if sampler.chance(0.5) else (receiver, giver)
    if not new_template and sampler.chance(0.25):
        return _three_people(sampler, words, receiver, others[1])
    scene = sampler.choice(NEW_SCENES if new_template else SCENES)
    scene = scene.replace("{pair}", sampler.choice(PAIRS)).format(**words)
    gift = sampler.choice(GIFTS).format(**words)
    if sampler.chance(0.4):
        aside = sampler.choice(ASIDES).format(**words)
        scene = aside + scene if sampler.chance(0.5) or not scene.endswith(". ") else scene + aside
    elif sampler.chance(0.15):
        scene = sampler.choice(OPENERS) + _lower_first(scene)
    return (scene + gift, Answer(" " + receiver), ".")


def _three_people(sampler: Sampler, words: dict[str, str], receiver: str, third: str) -> Line:
    """Three go, two give: the third receives."""
    people = [words["s"], third, receiver]
    givers = sampler.some(people[:2], 2)
    sampler.random.shuffle(people)
    scene = sampler.choice(("{}, {} and {} went to the {p}. ", "When {}, {} and {} were at the {p}, "))
    gift = "{} and {} " + sampler.choice(("gave {a_o} to", "showed the {o} to", "said hello to"))
    return (scene.format(*people, **words) + gift.format(*givers, **words), Answer(" " + receiver), ".")


def _lower_first(sentence: str) -> str:
    """The sentence with its first word in lower case, unless that word is a name."""
    first = sentence.split(" ", 1)[0]
    return sentence if first in NAMES else sentence[0].lower() + sentence[1:]


def where_is(sampler: Sampler) -> Line:
    """Who is in which place, asked after all were placed; held out: this set of people in these places."""

    def draw() -> tuple[list[str], list[str]]:
        count = sampler.choice((2, 3, 4))
        return sampler.some(NAMES, count), sampler.some(PLACES, count)

    people, places = sampler.pick("where is", draw, lambda case: (*sorted(zip(*case, strict=True)),), one_in=8)
    facts = list(zip(people, places, strict=True))
    parts = [" ".join(f"{person} is at the {place}." for person, place in facts)]
    form = sampler.choice((" Q: Where is {}? A: at the", " {} is at the", " So {} is at the"))
    for person, place in sampler.some(facts, sampler.choice((1, 2, len(facts)))):
        parts += [form.format(person), Answer(" " + place), "."]
    return tuple(parts)


def pronoun(sampler: Sampler) -> Line:
    """He or she, his or her, by the name before; a task with no held-out cases."""
    woman = sampler.chance(0.5)
    name = sampler.choice(WOMEN if woman else MEN)
    subject, possessive = (" she", " her") if woman else (" he", " his")
    thing, place, mood = sampler.choice(OBJECTS), sampler.choice(PLACES), sampler.choice(ADJECTIVES)
    person = sampler.choice(("friend", "teacher", "doctor"))
    return sampler.choice(
        (
            (f"{name} went to the {place} because", Answer(subject), f" wanted {with_article(thing)}."),
            (f"{name} lost", Answer(possessive), f" {thing}."),
            (f"{name} said that", Answer(subject), f" was {mood}."),
            (f"{name} took the {thing} to", Answer(possessive), f" {person}."),
            (f"{name} is {mood} and", Answer(subject), f" likes the {place}."),
        )
    )
