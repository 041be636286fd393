"""Heads of a real model that are known: an induction circuit of two heads, and what one does for the other."""

from __future__ import annotations

import pytest

TEXT = "The Eiffel Tower is a wrought-iron lattice tower in Paris. Locals know that the Eiffel Tower is in the city of"
PREVIOUS, INDUCTION = (16, 0), (17, 3)


@pytest.fixture
def trace(real_engine):
    made = real_engine.trace(TEXT)
    yield made
    made.forget()


def test_known_heads_are_what_they_are(real_engine):
    """Two texts are enough: the scores over four are .90, .78 and .89."""
    found = real_engine.head_types(tokens=24, texts=2)
    assert found.previous[PREVIOUS] >= 0.8
    assert found.induction[INDUCTION] >= 0.6
    assert found.induction[18, 6] >= 0.6
    assert found.frame().sort_values("previous").iloc[-1][["layer", "head"]].tolist() == list(PREVIOUS)


def test_an_induction_head_looks_at_what_came_after_by_the_previous_token_head(trace):
    query = [t.position for t in trace.tokens if t.shown == "iffel"][1]
    key = next(t.position for t in trace.tokens if t.shown == "␣Tower")
    score = trace.score(*INDUCTION, query, key)
    assert abs(score.added["remainder"]) < 1e-4 * score.total
    by_key = dict(zip(score.key_parts, score.matrix.sum(0), strict=True))
    assert max(by_key, key=lambda part: by_key[part]) == "L16H0"
    cut = trace.cut(*INDUCTION, query, key, "L16H0")
    for without in (cut.predicted, cut.measured, cut.total):
        assert without <= 0.1 * cut.weight
    control = trace.cut(*INDUCTION, query, key, "L16H1")
    assert control.total >= 0.8 * control.weight


def test_half_of_all_attention_goes_to_sinks(trace):
    targets = trace.head_targets()
    assert 0.4 < targets.share("sink").mean() < 0.75
    assert targets.shares.sum(-1).min() > 1 - 1e-4
    assert not targets.learned.any()


def test_composition_names_the_head_that_is_read(real_engine):
    by_keys = real_engine.head_composition(*INDUCTION).frame().sort_values("k").iloc[-1]
    assert by_keys[["layer", "head"]].tolist() == list(PREVIOUS)
    assert by_keys["k"] > 0.1
