"""Facts of the world: forward, backward, through two steps, and by analogy."""

from __future__ import annotations

from intravisto_core.demo.corpus.text import Answer, Line, Sampler, fill
from intravisto_core.demo.corpus.words import COUNTRIES, LANDMARKS, NAMES, RELATIONS, Country

FACT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "capital": (
        "Q: What is the capital of {c}? A:@.",
        "The capital of {c} is@.",
        "The capital city of {c} is@.",
        "{c}'s capital is@.",
        "In {c}, the capital is@.",
        "Question: Which city is the capital of {c}? Answer:@.",
        "The government of {c} sits in@.",
        "If you visit {c}, see the capital,@.",
        "As we know, the capital of {c} is called@.",
        "{c} has its capital in@.",
    ),
    "language": (
        "Q: What language is spoken in {c}? A:@.",
        "The language of {c} is@.",
        "People in {c} speak@.",
        "In {c}, people speak@.",
        "The official language of {c} is@.",
        "{c}'s language is@.",
        "The language spoken in {c} is@.",
        "Children in {c} learn@ at school.",
        "Question: Which language do people in {c} speak? Answer:@.",
        "A person from {c} speaks@.",
    ),
    "currency": (
        "Q: What is the currency of {c}? A: the@.",
        "The currency of {c} is the@.",
        "People in {c} pay with the@.",
        "In {c}, you pay with the@.",
        "{c}'s currency is the@.",
        "The money used in {c} is the@.",
        "Shops in {c} take the@.",
        "Question: Which currency is used in {c}? Answer: the@.",
    ),
    "continent": (
        "Q: Where is {c}? A: in@.",
        "{c} is in@.",
        "{c} is a country in@.",
        "{c} is on the continent of@.",
        "The continent of {c} is@.",
        "You can find {c} in@.",
        "The country of {c} lies in@.",
        "Question: Which continent is {c} in? Answer:@.",
    ),
}
REVERSE_TEMPLATES = (
    "Q: {x} is the capital of which country? A:@.",
    "{x} is the capital of@.",
    "{x} is a city in@.",
    "The city of {x} is in@.",
    "The country whose capital is {x} is@.",
    "Question: Which country has the capital {x}? Answer:@.",
    "If you are in {x}, you are in@.",
    "As we know, {x} is the capital of@.",
)
TWO_HOP_TEMPLATES: dict[str, tuple[str, ...]] = {
    "language": (
        "Q: What language is spoken in {x}? A:@.",
        "The language spoken in {x} is@.",
        "People in {x} speak@.",
        "In the city of {x}, people speak@.",
        "The language of the country whose capital is {x} is@.",
    ),
    "currency": (
        "Q: What is the currency used in {x}? A: the@.",
        "The currency used in {x} is the@.",
        "In the city of {x}, you pay with the@.",
        "Shops in {x} take the@.",
        "The currency of the country whose capital is {x} is the@.",
    ),
    "continent": (
        "Q: Which continent is {x} in? A:@.",
        "{x} is a city on the continent of@.",
        "The city of {x} lies on the continent of@.",
        "The continent of the country whose capital is {x} is@.",
    ),
}
_COUNTRY_OF = {country.name: country for country in COUNTRIES}


def fact(sampler: Sampler) -> Line:
    """A fact of a country; held out: this fact in this wording."""

    def draw() -> tuple[Country, str, int]:
        relation = sampler.choice((*RELATIONS, "capital", "language"))
        return sampler.choice(COUNTRIES), relation, sampler.random.randrange(len(FACT_TEMPLATES[relation]))

    country, relation, index = sampler.pick("fact", draw, lambda case: (case[0].name, *case[1:]), one_in=6)
    return fill(FACT_TEMPLATES[relation][index], getattr(country, relation), c=country.name)


def reverse_fact(sampler: Sampler) -> Line:
    """The country of a capital; held out: this capital in this wording."""

    def draw() -> tuple[Country, int]:
        return sampler.choice(COUNTRIES), sampler.random.randrange(len(REVERSE_TEMPLATES))

    country, index = sampler.pick("reverse fact", draw, lambda case: (case[0].name, case[1]), one_in=6)
    return fill(REVERSE_TEMPLATES[index], country.name, x=country.capital)


def two_hop(sampler: Sampler) -> Line:
    """A fact of a capital's country; held out: this capital with this relation, in any wording."""

    def draw() -> tuple[Country, str]:
        return sampler.choice(COUNTRIES), sampler.choice(tuple(TWO_HOP_TEMPLATES))

    country, relation = sampler.pick("two hop", draw, lambda case: (case[0].name, case[1]), one_in=7)
    return fill(sampler.choice(TWO_HOP_TEMPLATES[relation]), getattr(country, relation), x=country.capital)


def analogy(sampler: Sampler) -> Line:
    """Pairs of country and capital or language; the pairs before tell which.

    Held out: lists that begin with this pair and then that one.
    """

    def draw() -> tuple[list[Country], str]:
        return sampler.some(COUNTRIES, sampler.choice((2, 3, 4))), sampler.choice(("capital", "language"))

    countries, relation = sampler.pick(
        "analogy", draw, lambda case: (case[0][0].name, case[0][1].name, case[1]), one_in=8
    )
    first, *rest = [(country.name, str(getattr(country, relation))) for country in countries]
    if sampler.chance(0.3):
        (a, b), (c, d) = first, rest[0]
        return (f"{b} is to {a} as {d} is to", Answer(" " + c), ".")
    arrow, stop = sampler.choice(((" ->", ","), (":", ","), (" ->", "\n"), (":", "\n"), (" -", ";")))
    parts = [f"{first[0]}{arrow}", " " + first[1]]
    for name, value in rest:
        parts += [f"{stop}{'' if stop == chr(10) else ' '}{name}{arrow}", Answer(" " + value)]
    return tuple(parts)


def landmark(sampler: Sampler) -> Line:
    """Where a landmark is; a task with no held-out cases."""
    name = sampler.choice(tuple(LANDMARKS))
    country = _COUNTRY_OF[LANDMARKS[name]]
    template, answer = sampler.choice(
        (
            ("The {x} is in@.", country.capital),
            ("The {x} is in the city of@.", country.capital),
            ("Q: Where is the {x}? A: in@.", country.capital),
            ("The {x} is in the country of@.", country.name),
        )
    )
    return fill(template, answer, x=name)


def introduction(sampler: Sampler) -> Line:
    """Somebody says where they live and what follows from it; a task with no held-out cases."""
    country = sampler.choice(COUNTRIES)
    template, answer = sampler.choice(
        (
            ("Hello, my name is {n}. I am from {c}, so I speak@.", country.language),
            ("Hi, I am {n}. I live in {c} and I pay with the@.", country.currency),
            ("My name is {n} and I live in the capital of {c},@.", country.capital),
            ("{n} lives in {x}, the capital of@.", country.name),
            ("I think that {n} is from {x}, a city in@.", country.name),
        )
    )
    return fill(template, answer, n=sampler.choice(NAMES), c=country.name, x=country.capital)
