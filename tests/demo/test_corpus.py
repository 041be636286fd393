"""The corpus: repeatable, split into training and held-out cases, true to its own rules."""

from __future__ import annotations

import re

import pytest

from intravisto_core.demo.corpus import (
    TASKS,
    Answer,
    Line,
    Sampler,
    document,
    is_held_out,
    line,
    text_of,
    word_list,
)
from intravisto_core.demo.corpus.facts import FACT_TEMPLATES, TWO_HOP_TEMPLATES
from intravisto_core.demo.corpus.language import VERBS
from intravisto_core.demo.corpus.people import indirect_object
from intravisto_core.demo.corpus.words import COUNTRIES, NAMES, OBJECTS
from intravisto_core.demo.evaluate import WITHOUT_SPLIT

SPLIT_TASKS = [task for task in TASKS if task not in WITHOUT_SPLIT]


def lines(task: str, held_out: bool, count: int, seed: int = 0) -> list[Line]:
    sampler = Sampler(seed, held_out)
    return [line(sampler, task) for _ in range(count)]


def test_documents_depend_on_the_seed_alone() -> None:
    first, again, other = (
        [text_of(document(sampler)) for _ in range(200)] for sampler in (Sampler(3), Sampler(3), Sampler(4))
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("task", SPLIT_TASKS)
def test_held_out_lines_never_occur_in_training_text(task: str) -> None:
    held_out = {text_of(each) for each in lines(task, True, 100)}
    training = {text_of(each) for each in lines(task, False, 1500, seed=1)}
    assert held_out
    assert not held_out & training


def test_held_out_facts_never_occur_in_any_document() -> None:
    held_out = [
        template.split("@")[0].format(c=country.name)
        for country in COUNTRIES
        for relation, templates in FACT_TEMPLATES.items()
        for index, template in enumerate(templates)
        if is_held_out("fact", (country.name, relation, index), 6)
    ]
    sampler = Sampler(5)
    text = "\n".join(text_of(document(sampler)) for _ in range(3000))
    whole = [prompt for prompt in held_out if not re.match(r"^(\S+'s|\S+ (is|has)) ", prompt)]
    assert whole
    assert not [prompt for prompt in whole if prompt in text]


def test_two_hop_holds_out_the_composition_in_every_wording() -> None:
    held_out = [
        (country.capital, template.split("@")[0].format(x=country.capital))
        for country in COUNTRIES
        for relation, templates in TWO_HOP_TEMPLATES.items()
        if is_held_out("two hop", (country.name, relation), 7)
        for template in templates
    ]
    training = {text_of(each[:1]) for each in lines("two hop", False, 2000)}
    assert held_out
    assert not training & {prompt for _, prompt in held_out}


def test_two_names_are_held_out_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    monkeypatch.setattr(Sampler, "pick", lambda self, task, draw, key, one_in: keys.append(key) or draw())
    indirect_object(Sampler(6))
    assert keys[0](("Mary", "John")) == keys[0](("John", "Mary"))


@pytest.mark.parametrize("new_template", [False, True])
def test_the_receiver_is_the_only_name_said_once(new_template: bool) -> None:
    sampler = Sampler(6, held_out=True)
    for _ in range(300):
        before, receiver, _ = indirect_object(sampler, new_template)
        names = [word for word in re.findall(r"[A-Z][a-z]+", before) if word in NAMES]
        assert [name for name in names if names.count(name) == 1] == [receiver.strip()]


def test_names_of_an_indirect_object_come_in_both_orders() -> None:
    firsts = []
    for before, receiver, _ in lines("indirect object", False, 300):
        names = [word for word in re.findall(r"[A-Z][a-z]+", before) if word in NAMES]
        firsts.append(names[0] == receiver.strip())
    assert 0.2 < sum(firsts) / len(firsts) < 0.8


@pytest.mark.parametrize("task", [task for task in TASKS if task != "phrase"])
def test_every_answer_is_whole_words_with_a_leading_space(task: str) -> None:
    for each in lines(task, task in SPLIT_TASKS, 50):
        answers = [part for part in each if isinstance(part, Answer)]
        assert answers
        assert all(re.fullmatch(r" \S+", answer) for answer in answers)


def test_the_words_of_answers_are_in_the_word_list() -> None:
    grammar = {*"()[]{}<>", "he", "she", "his", "her", *(form for verb in VERBS for form in verb)}
    parts = [part for task in TASKS for each in lines(task, False, 300) for part in each]
    said = {part.strip() for part in parts if isinstance(part, Answer)}
    assert not said - grammar - set(word_list())


def test_colour_answers_are_the_colours_said_before() -> None:
    for each in lines("colour", True, 100):
        text = each[0]
        for question, answer in zip(each[1::3], each[2::3], strict=True):
            (thing,) = [word for word in re.findall(r"\w+", question) if word in OBJECTS]
            said = (f"{thing} is{answer}", f"{answer} {thing}", f" {thing}{answer}", f" {thing}:{answer}")
            assert any(form in text for form in said)


def test_an_empty_side_of_a_split_is_an_error() -> None:
    sampler = Sampler(0, held_out=True)
    with pytest.raises(RuntimeError, match="both sides"):
        sampler.pick("nothing", lambda: 0, lambda case: (case,), one_in=10**9)
