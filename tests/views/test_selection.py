"""Which rows and positions a grid has, which of them are blank, and which options are refused."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv
from tests.reference.slow import close

COMPONENTS = ("block", "mid", "attention", "mlp")
ROWS = 5
WATCH = ("X", "ab")


@pytest.fixture(scope="module", params=["open here", "at a service"])
def case(request, case):
    """Every test of this file runs on both kinds of engine."""
    return case if request.param == "open here" else request.getfixturevalue("case_at_service")


@pytest.mark.parametrize("component", COMPONENTS[1:])
def test_blank_rows_say_why(case, component):
    grid = case("llama").trace.heatmap(component=component, norm="final", watch=WATCH)
    for row in (0, ROWS - 1):
        assert grid.blank[row]
        assert (grid.token_ids[row] == -1).all()
        for name in ("p_max", "entropy", "kl_final", "kl_below", "next_log_prob"):
            assert np.isnan(getattr(grid, name)[row]).all(), name
        assert np.isnan(grid.probabilities[row]).all()
    assert list(grid.blank[1:-1]) == [""] * (ROWS - 2)
    assert (grid.token_ids[1:-1] >= 0).all()


def test_rows_that_are_all_blank(case):
    trace = case("llama").trace
    for component, rows in (("attention", [0]), ("mid", [0, -1])):
        grid = trace.heatmap(component=component, rows=rows, norm="final", watch=WATCH)
        assert (grid.token_ids == -1).all()
        assert all(grid.blank)
        assert np.isnan(grid.watch[0].probability).all()
        assert grid.says.tolist() == trace.heatmap().says.tolist()


SELECTIONS = [
    (iv.Span(1, 4), [1, 2, 3]),
    (iv.Span(-2, 5), [3, 4]),
    (iv.Span(0, -1), [0, 1, 2, 3]),
    ([0, 3], [0, 3]),
    ([-1], [4]),
    ([1, -2], [1, 3]),
    ([3, 1], [3, 1]),
    (range(4, 0, -2), [4, 2]),
    (None, [0, 1, 2, 3, 4]),
]


@pytest.mark.parametrize(("rows", "expected"), SELECTIONS)
def test_rows_are_chosen_by_span_list_and_from_the_end(case, rows, expected):
    trace = case("llama").trace
    whole, part = trace.heatmap(lens="linear"), trace.heatmap(lens="linear", rows=rows)
    assert part.rows.tolist() == expected
    for name in ("token_ids", "probabilities", "p_max", "entropy", "kl_final", "kl_below", "norms", "cosine"):
        close(getattr(part, name), getattr(whole, name)[expected], 1e-5)


@pytest.mark.parametrize(("positions", "expected"), [*SELECTIONS[:1], *SELECTIONS[3:4], ([2, -1], [2, 20])])
def test_positions_are_chosen_by_span_list_and_from_the_end(case, positions, expected):
    tiny = case("llama")
    whole, part = tiny.trace.heatmap(), tiny.trace.heatmap(positions=positions)
    assert part.positions.tolist() == expected
    assert [t.position for t in part.tokens] == expected
    for name in ("token_ids", "probabilities", "p_max", "kl_final", "kl_below", "next_log_prob"):
        close(getattr(part, name), getattr(whole, name)[:, expected], 1e-5)


@pytest.mark.parametrize("bad", [{"rows": [5]}, {"rows": [-6]}, {"positions": [21]}, {"positions": [-22]}])
def test_a_row_or_position_that_is_not_there_is_refused(case, bad):
    with pytest.raises(iv.IntravistoError, match=r"row|position"):
        case("llama").trace.heatmap(**bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"lens": "best"},
        {"norm": "layer"},
        {"component": "head"},
        {"reading": "all"},
        {"top_k": 0},
        {"top_k": 33},
    ],
)
def test_a_wrong_option_is_refused_with_the_right_ones(case, bad):
    name = next(iter(bad))
    with pytest.raises(iv.IntravistoError, match=name) as caught:
        case("llama").trace.heatmap(**bad)
    allowed = {
        "lens": "quadratic",
        "norm": "norm_only",
        "component": "mlp",
        "reading": "iterative",
        "top_k": "32",
    }
    assert allowed[name] in str(caught.value)
