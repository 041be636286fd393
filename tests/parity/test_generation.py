"""Generation over the KV cache: greedy ids against transformers' own `generate`, and how a run ends."""

from __future__ import annotations

import pytest

from tests.reference import plain
from tests.tiny import BOS, CHARACTER_FAMILIES, CONTEXT, EOS, PAD, PROMPT


def ids_of(trace) -> list[int]:
    return [token.id for token in trace.tokens]


def new_ids(trace) -> list[int]:
    return ids_of(trace)[trace.prompt_length :]


@pytest.mark.parametrize("family", CHARACTER_FAMILIES)
def test_greedy_ids_equal_generate(case, family):
    tiny = case(family)
    trace = tiny.engine.trace(PROMPT, max_new_tokens=30)
    assert ids_of(trace) == plain.generate(tiny.model, tiny.prompt_ids, 30)
    assert trace.prompt_length == len(tiny.prompt_ids)


def test_eos_ends_a_run_and_is_a_token_of_it(case):
    tiny = case("llama")
    trace = tiny.engine.trace(PROMPT, max_new_tokens=40)
    assert new_ids(trace)[-1] == EOS
    assert len(new_ids(trace)) < 40
    assert trace.tokens[-1].is_special
    last = trace.activation("resid_post", layer=0)
    assert last.shape[0] == len(trace.tokens), "the last token has been run, and has its column"


def test_tokens_know_where_they_come_from(case):
    tiny = case("llama")
    tokens = tiny.trace.tokens
    assert [t.position for t in tokens] == list(range(len(tokens)))
    assert [t.is_prompt for t in tokens] == [i < tiny.trace.prompt_length for i in range(len(tokens))]
    assert tokens[0].id == BOS
    assert tokens[0].is_special
    assert tokens[3].text == " "
    assert not tokens[3].is_special
    special = (BOS, EOS, PAD)
    kept = [i for i in tiny.ids if i not in special]
    expected = plain.tokenizer(tiny.folder).decode(tiny.ids, skip_special_tokens=True)
    assert tiny.trace.text == expected
    assert len(kept) < len(tiny.ids)


def test_without_special_tokens_and_by_ids(case):
    tiny = case("gpt2")
    bare = tiny.engine.trace(PROMPT, max_new_tokens=5, add_special_tokens=False)
    assert bare.prompt_length == len(tiny.prompt_ids) - 1
    assert ids_of(bare) == plain.generate(tiny.model, tiny.prompt_ids[1:], 5)
    by_ids = tiny.engine.trace(tuple(tiny.prompt_ids), max_new_tokens=5)
    assert ids_of(by_ids) == plain.generate(tiny.model, tiny.prompt_ids, 5)


def test_a_special_token_typed_as_text_is_that_token(case):
    tiny = case("llama")
    trace = tiny.engine.trace("a<eos>b")
    assert ids_of(trace) == plain.tokenizer(tiny.folder)("a<eos>b").input_ids


@pytest.mark.parametrize("forced", ["XY", (60, 61, 62)])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_forced_continuation_comes_first(case, family, forced):
    tiny = case(family)
    begin = list(forced) if isinstance(forced, tuple) else plain.tokenizer(tiny.folder)(forced).input_ids[1:]
    n = len(begin) + 4
    trace = tiny.engine.trace(PROMPT, max_new_tokens=n, forced=forced)
    assert ids_of(trace) == plain.generate(tiny.model, tiny.prompt_ids + begin, 4)
    assert trace.prompt_length == len(tiny.prompt_ids)
    only = tiny.engine.trace(PROMPT, forced=forced)
    assert new_ids(only) == begin


def test_forced_tokens_have_the_same_activations(case):
    tiny = case("llama")
    forced = tuple(tiny.ids[tiny.trace.prompt_length :])
    trace = tiny.engine.trace(PROMPT, forced=forced)
    for layer in range(3):
        got = trace.activation("resid_post", layer=layer)
        assert plain.error(got, tiny.run.sites["resid_post"][layer]) <= 1e-5


@pytest.mark.parametrize("n", [1, 4])
def test_a_stop_text_ends_the_run_where_it_appears(case, n):
    tiny = case("llama")
    free = new_ids(tiny.trace)
    decode = plain.tokenizer(tiny.folder).decode
    stop = decode(free[1 : 1 + n])
    text = decode(free)
    trace = tiny.engine.trace(PROMPT, max_new_tokens=8, stop=[stop])
    got = new_ids(trace)
    assert got == free[: len(got)]
    assert stop in decode(got)
    assert stop not in decode(got[:-1])
    assert text.startswith(decode(got))


def test_a_stop_id_ends_the_run_and_is_a_token_of_it(case):
    tiny = case("llama")
    free = new_ids(tiny.trace)
    stop = free[3]
    trace = tiny.engine.trace(PROMPT, max_new_tokens=8, stop=[stop])
    assert new_ids(trace) == free[: free.index(stop) + 1]


def test_a_stop_in_the_prompt_does_not_end_the_run(case):
    tiny = case("gpt2")
    trace = tiny.engine.trace(PROMPT, max_new_tokens=3, stop=["ab"])
    assert len(new_ids(trace)) == 3


def test_generation_up_to_the_context(case):
    tiny = case("gpt2")
    ids = tuple(3 + (7 * i) % 90 for i in range(CONTEXT - 3))
    trace = tiny.engine.trace(ids, max_new_tokens=3)
    assert ids_of(trace) == plain.generate(tiny.model, list(ids), 3)
