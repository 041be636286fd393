"""What the sidebar says of the two dtypes is measured here, for a prompt and for steps apart."""

from __future__ import annotations

import pytest

from intravisto_core.models import dtype_speed
from intravisto_core.models.dtype_speed import DtypeSpeed, compare_dtypes, measure_dtypes


def test_both_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtype_speed, "WIDTH", 64)
    measure_dtypes.cache_clear()
    found = measure_dtypes()
    assert set(found) == {"float32", "bfloat16"}
    assert all(speed.step > 0 and speed.row > 0 for speed in found.values())
    assert measure_dtypes() is found
    measure_dtypes.cache_clear()


def test_prompt_and_steps_count_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 300 tokens of prompt and 10 steps are 300·1 + 10·5 = 350 against 300·4 + 10·2 = 1220."""
    speeds = {"float32": DtypeSpeed(step=5.0, row=1.0), "bfloat16": DtypeSpeed(step=2.0, row=4.0)}
    monkeypatch.setattr(dtype_speed, "measure_dtypes", lambda: speeds)
    assert compare_dtypes("bfloat16", 300, 10, 10**6) == ("float32", pytest.approx(350 / 1220))
    assert compare_dtypes("float32", 300, 10, 10**6) == ("bfloat16", pytest.approx(1220 / 350))
    assert compare_dtypes("float32", 1, 100, 10**6) == ("bfloat16", pytest.approx(204 / 501))
    # in float32 the products of 2 × 1,024² parameters take 2 × 350 s; 300 s more stay as they are
    told = compare_dtypes("float32", 300, 10, 2 * 1024**2, seconds=1000.0)
    assert told == ("bfloat16", pytest.approx((2 * 1220 + 300) / 1000))
    assert compare_dtypes("float16", 300, 10, 10**6) is None
    assert compare_dtypes("float32", 0, 0, 10**6) is None
