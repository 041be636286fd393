"""Second readings of a cell, and the numbers of the stream itself, against the literal reading (methods §4)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.analysis import readings
from tests.reference.slow import close
from tests.tiny import PROMPT

FAMILIES = ("llama", "gpt2", "granite", "gemma2")
LENSES = ("output", "input", "linear", "quadratic", "max")
ROWS = 5


@pytest.fixture(scope="module", params=["open here", "at a service"])
def case(request, case):
    """Every test of this file runs on both kinds of engine."""
    return case if request.param == "open here" else request.getfixturevalue("case_at_service")


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("family", FAMILIES)
def test_iterative_subtraction(case, family, lens):
    tiny = case(family)
    grid = tiny.trace.heatmap(lens=lens, norm="final", reading="iterative", rows=iv.Span(0, ROWS - 1), top_k=5)
    for row, position in np.ndindex(grid.token_ids.shape[:2]):
        tokens, coefficients = tiny.cells.iterative("block", lens, row, position)
        listed = grid.token_ids[row, position]
        assert listed[: len(tokens)].tolist() == tokens, (row, position)
        assert (listed[len(tokens) :] == -1).all()
        close(grid.coefficients[row, position, : len(tokens)], coefficients)
        assert np.isnan(grid.coefficients[row, position, len(tokens) :]).all()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_iterative_subtraction_meets_its_stopping_rule(case, family):
    """Else the test above would not have seen it."""
    ids = case(family).trace.heatmap(reading="iterative", norm="final", rows=iv.Span(0, ROWS - 1)).token_ids
    assert len(set((ids >= 0).sum(-1).flatten().tolist())) > 1


def test_iterative_subtraction_stops_at_what_is_too_small(case, monkeypatch):
    """1 % of ‖x‖ is seldom met by a random model, so the same rule is tried at 30 %."""
    tiny = case("llama")
    monkeypatch.setattr(readings, "LEAST", 0.3)
    fresh = tiny.engine.trace(PROMPT, max_new_tokens=3)
    ids = fresh.heatmap(reading="iterative", norm="final", rows=iv.Span(0, ROWS - 1)).token_ids
    lengths = set()
    for row, position in np.ndindex(ids.shape[:2]):
        tokens, _ = tiny.cells.iterative("block", "output", row, position, least=0.3)
        assert [i for i in ids[row, position].tolist() if i >= 0] == tokens
        lengths.add(len(tokens))
    assert {1, 2} <= lengths


@pytest.mark.parametrize("lens", LENSES[:4])
@pytest.mark.parametrize("family", FAMILIES)
def test_difference_from_the_row_below(case, family, lens):
    tiny = case(family)
    grid = tiny.trace.heatmap(lens=lens, reading="difference", top_k=6, rows=iv.Span(0, ROWS - 1))
    assert (grid.token_ids[0] == -1).all()
    assert grid.blank[0]
    for row, position in product(range(1, ROWS - 1), range(len(tiny.ids))):
        stream, under = tiny.cells.stream(row, position), tiny.cells.stream(row - 1, position)
        xhat = tiny.decoder.normed(stream - under, "stream", stream)
        z = tiny.decoder.logits(xhat, lens, row, update=True)
        close(z[grid.token_ids[row, position]], np.sort(z)[::-1][:6])
        close(grid.logits[row, position], np.sort(z)[::-1][:6])
        close(grid.suppressed_logits[row, position], np.sort(z)[:6])


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_of_the_stream_itself(case, family):
    tiny = case(family)
    grid = tiny.trace.heatmap()
    for row, position in product(range(ROWS - 1), range(len(tiny.ids))):
        x = tiny.cells.stream(row, position)
        close(grid.norms[row, position], np.linalg.norm(x))
        close(grid.top3_share[row, position], np.sort(x**2)[-3:].sum() / (x**2).sum())
        if row == 0:
            assert np.isnan(grid.cosine[row, position])
        else:
            y = tiny.cells.stream(row - 1, position)
            close(grid.cosine[row, position], x @ y / np.linalg.norm(x) / np.linalg.norm(y))
