"""What the examples tell the reader to look for is there to be seen in the demo model."""

from __future__ import annotations

import pytest

import intravisto_core as iv
from intravisto_ui.examples import EXAMPLES

BY_NAME = {example.name: example for example in EXAMPLES}


@pytest.fixture(scope="module")
def engine() -> iv.LocalEngine:
    return iv.open_model("demo")


def traced(engine: iv.LocalEngine, name: str) -> tuple[iv.Trace, iv.DecodedGrid]:
    example = BY_NAME[name]
    trace = engine.trace(example.prompt, max_new_tokens=example.max_new_tokens)
    return trace, trace.heatmap(top_k=1)


def test_fact_comes_in_the_upper_half(engine: iv.LocalEngine) -> None:
    trace, grid = traced(engine, "Fact")
    column = grid.token_ids[:, trace.prompt_length - 1, 0]
    answer = trace.tokens[trace.prompt_length]
    assert answer.text == " Rome"
    first = min(row for row in range(len(column)) if column[row] == answer.id)
    assert len(column) / 2 <= first < len(column)


def test_name_that_stands_there_once(engine: iv.LocalEngine) -> None:
    trace, grid = traced(engine, "Two names")
    said = grid.shown[int(grid.says[trace.prompt_length - 1])].replace("␣", "")
    words = BY_NAME["Two names"].prompt.replace(".", "").split()
    assert words.count(said) == 1
    assert said in (words[0], words[2])


def test_sequence_says_the_number_after(engine: iv.LocalEngine) -> None:
    trace, grid = traced(engine, "Sequence")
    numbers = [(p, int(t.text)) for p, t in enumerate(trace.tokens[: trace.prompt_length]) if t.text.strip().isdigit()]
    assert len(numbers) == 6
    for position, number in numbers[1:]:
        assert grid.shown[int(grid.says[position])].replace("␣", "") == str(number + 1)
