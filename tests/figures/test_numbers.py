"""Numbers as people read them."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravisto_core.figures import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.6584, "0.658"),
        (0.6586, "0.659"),
        (58.76, "58.8"),
        (99.96, "100"),
        (0.09996, "0.100"),
        (999.4, "999"),
        (999.5, "1,000"),
        (1234567.0, "1,234,567"),
        (-2.125, "−2.13"),
        (0.00123, "0.00123"),
        (0.0000123, "1.23e−5"),
        (nan, "–"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert numbers.significant(value) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.588, "58.8\u00a0%"),
        (0.9996, ">99.9\u00a0%"),
        (0.9995, "99.9\u00a0%"),
        (1.0, ">99.9\u00a0%"),
        (0.00000999, "<0.001\u00a0%"),
        (0.0, "<0.001\u00a0%"),
        (0.00001, "0.00100\u00a0%"),
        (nan, "–"),
    ],
)
def test_probability(p: float, text: str) -> None:
    assert numbers.probability(p) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.996, ">99\u00a0%"), (0.994, "99\u00a0%"), (0.004, "<1\u00a0%"), (0.125, "13\u00a0%"), (nan, "–")]
)
def test_whole_percent(p: float, text: str) -> None:
    assert numbers.whole_percent(p) == text


def test_signed_numbers_have_a_true_minus_and_shares_may_be_all_or_nothing() -> None:
    assert numbers.change(1.5) == "+1.50"
    assert numbers.change(-1.5) == "−1.50"
    assert numbers.share(-0.042) == "−4.20\u00a0%"
    assert numbers.share(1.0) == "100\u00a0%"
    assert numbers.share(0.0) == "0\u00a0%"
    assert numbers.whole_share(-0.001) == "0\u00a0%"
    assert numbers.whole_share(-0.26) == "−26\u00a0%"
    assert numbers.nats(0.9789) == "0.979 nats"


@given(st.floats(1e-4, 999.4))
def test_a_written_number_is_within_half_a_digit(value: float) -> None:
    text = numbers.significant(value)
    digits = text.replace(".", "").lstrip("0")
    assert len(digits) == 3
    assert abs(float(text) - value) <= 0.00501 * value
