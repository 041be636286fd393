"""What the examples tell the reader to look for is there to be seen in the demo model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import intravisto_core as iv
from intravisto_core.demo.corpus import words
from intravisto_ui.sidebar.examples import CHAT, ENGLISH, EXAMPLES, list_examples

BY_NAME = {example.name: example for example in EXAMPLES}
COUNTRY = {country.name: country for country in words.COUNTRIES}
CAPITALS = {country.capital for country in words.COUNTRIES}
LANGUAGES = {country.language for country in words.COUNTRIES}


@pytest.fixture(scope="module")
def engine() -> Iterator[iv.LocalEngine]:
    opened = iv.open_model("demo")
    yield opened
    opened.close()


def column(engine: iv.LocalEngine, name: str) -> tuple[list[str], str]:
    """What the rows say at the last position of the prompt, from the bottom up, and the first generated token."""
    example = BY_NAME[name]
    trace = engine.trace(example.prompt, max_new_tokens=example.max_new_tokens)
    grid = trace.heatmap(top_k=1)
    said = [grid.shown[int(i)].replace("␣", "") for i in grid.token_ids[:, trace.prompt_length - 1, 0]]
    return said, trace.tokens[trace.prompt_length].text.strip()


def thirds(said: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The low rows, those half way up, and the top ones; the embeddings are none of them."""
    n = len(said)
    return said[1 : n // 2], said[n // 2 - 1 : n // 2 + 1], said[-2:]


def test_fact(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Fact")
    _, middle, top = thirds(said)
    assert answer == COUNTRY["Italy"].capital
    assert set(middle) <= CAPITALS - {answer}
    assert set(top) == {answer}


def test_two_hops(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Two hops")
    (country,) = (c for c in words.COUNTRIES if c.capital == "Madrid")
    assert answer == country.language
    _, middle, top = thirds(said)
    assert set(middle) <= LANGUAGES - {answer}
    assert set(top) == {answer}
    assert said[-3] in LANGUAGES - {answer}, "below the top"


def test_two_names(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Two names")
    text = BY_NAME["Two names"].prompt.replace(",", "").split()
    low, _, _ = thirds(said)
    assert text.count(answer) == 1
    assert answer in words.NAMES
    assert set(low) <= set(words.NAMES) - set(text)
    assert set(said[len(said) // 2 :]) == {answer}


def test_repeat(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Repeat")
    text = BY_NAME["Repeat"].prompt.split()
    assert text[-1] == "fox"
    assert answer == text[text.index("fox") + 1]
    assert said[-1] == answer
    assert answer not in said[: len(said) // 2], "the last column comes to know it"


def test_colour(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Colour")
    text = BY_NAME["Colour"].prompt
    assert f"cup is {answer}." in text
    low, _, _ = thirds(said)
    assert all(word in words.COLOURS and word not in text for word in low)
    assert set(said[len(said) // 2 :]) == {answer}


def test_agreement(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Agreement")
    assert answer in ("are", "were", "have")
    assert said[-2:] == [answer] * 2
    assert answer not in said[:-2]
    one = engine.trace(BY_NAME["Agreement"].prompt.replace("keys", "key"), max_new_tokens=1)
    assert one.tokens[-1].text.strip() in ("is", "was", "has")


def test_sequence(engine: iv.LocalEngine) -> None:
    example = BY_NAME["Sequence"]
    trace = engine.trace(example.prompt, max_new_tokens=example.max_new_tokens)
    grid = trace.heatmap(top_k=1)
    numbers = [(p, int(t.text)) for p, t in enumerate(trace.tokens[: trace.prompt_length]) if t.text.strip().isdigit()]
    assert len(numbers) == 6
    for position, number in numbers[1:]:
        assert grid.shown[int(grid.says[position])].replace("␣", "") == str(number + 1)


def test_opposite(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Opposite")
    _, middle, top = thirds(said)
    assert answer == "hot"
    assert set(middle) == {"cold"}
    assert set(top) == {answer}


def test_analogy(engine: iv.LocalEngine) -> None:
    said, answer = column(engine, "Analogy")
    _, middle, top = thirds(said)
    assert answer == COUNTRY["Spain"].capital
    assert set(middle) <= CAPITALS - {answer}
    assert set(top) == {answer}


def test_every_example_is_tried_here() -> None:
    assert {f"test_{name.lower().replace(' ', '_')}" for name in BY_NAME} <= set(globals())
    assert len({example.look for example in EXAMPLES}) == len(EXAMPLES)


def test_examples_fit_the_model() -> None:
    assert list_examples(None, False) == list_examples(iv.ModelSpec("demo"), True) == EXAMPLES
    other = iv.ModelSpec("owner/name")
    assert list_examples(other, False) == ENGLISH
    assert not any(example.chat for example in ENGLISH)
    talking = list_examples(other, True)
    assert talking[: len(CHAT)] == CHAT
    assert len({example.name for example in talking}) == len(talking)


def test_the_examples_show_something_in_a_real_model(real_engine: iv.Engine) -> None:
    answers = {
        "Fact": " Paris",
        "Two names": " Mary",
        "Repeat": " green",
        "Question": " Paris",
        "Colour": "blue",
        "List": "January",
    }
    for example in list_examples(iv.ModelSpec("any"), real_engine.model.chat):
        trace = real_engine.trace(example.prompt, max_new_tokens=example.max_new_tokens, chat=example.chat)
        made = "".join(token.text for token in trace.tokens[trace.prompt_length :])
        assert answers.get(example.name, "") in made, (example.name, made)
        trace.forget()
