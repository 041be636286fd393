"""Statistics over the vocabulary (docs/methods.md §4), at sizes where they run in blocks and stripes."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intravisto_core.analysis import decoding
from tests.reference import slow


def entropy_of(z: np.ndarray) -> np.ndarray:
    logits = torch.tensor(z, dtype=torch.float32)
    return decoding.compute_sums(logits, logits.amax(-1)).entropy.numpy()


finite = st.floats(-60, 60, allow_nan=False, width=32)
with_infinity = st.one_of(finite, st.just(float("-inf")))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(z=hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=with_infinity))
def test_entropy_is_between_nothing_and_the_uniform(z):
    z = np.concatenate([np.zeros_like(z[:, :1]), z], axis=1)
    entropy = entropy_of(z)
    assert (entropy >= 0).all()
    assert (entropy <= log(z.shape[1]) + 1e-5).all()
    np.testing.assert_allclose(entropy, [slow.entropy(row.astype(np.float64)) for row in z], atol=1e-4)


def test_entropy_by_hand():
    minus = -np.inf
    z = np.array([[0, 0, 0, 0], [5, minus, minus, minus], [1, 1, minus, minus], [log(3), 0, minus, minus]])
    expected = [log(4), 0, log(2), 0.75 * log(4 / 3) + 0.25 * log(4)]
    np.testing.assert_allclose(entropy_of(z), expected, atol=1e-6)


@pytest.mark.parametrize(("rows", "positions", "vocabulary"), [(4, 6, 5000), (40, 30, 1500), (2, 1, 33)])
def test_sums_in_blocks_equal_the_plain_ones(rows, positions, vocabulary):
    rng = np.random.default_rng(0)
    z = rng.normal(scale=4, size=(rows, positions, vocabulary)).astype(np.float32)
    flat = torch.tensor(z).flatten(0, 1)
    found = decoding.compute_sums(flat, flat.amax(-1), (rows, positions))
    for row, position in [(0, 0), (rows - 1, positions - 1), (rows // 2, positions // 2)]:
        own = z[row, position].astype(np.float64)
        n = row * positions + position
        assert float(found.entropy[n]) == pytest.approx(slow.entropy(own), abs=1e-5)
        assert float(found.log_sum[n]) == pytest.approx(own.max() + np.log(np.exp(own - own.max()).sum()), abs=1e-5)
        last, under = z[-1, position].astype(np.float64), z[row - 1, position].astype(np.float64)
        assert float(found.kl_last[row, position]) == pytest.approx(slow.kl(last, own), abs=1e-5)
        expected = slow.kl(own, under) if row else np.nan
        assert float(found.kl_below[row, position]) == pytest.approx(expected, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("vocabulary", [7, 33, 1056, 1057, 1200, 5000, 50257])
def test_top_tokens_are_the_top_tokens(vocabulary):
    rng = np.random.default_rng(vocabulary)
    z = rng.normal(size=(5, vocabulary)).astype(np.float32)
    z[0] = np.sort(z[0])
    z[1] = np.sort(z[1])[::-1]
    z[2, : vocabulary // 2] = -np.inf
    values, ids = decoding.find_top_tokens(torch.tensor(z), 32)
    k = min(32, vocabulary)
    assert values.shape == (5, k)
    np.testing.assert_array_equal(values.numpy(), -np.sort(-z, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(z, ids.numpy(), 1), values.numpy())
    assert all(len(set(row)) == k for row in ids.tolist())


def test_rank_counts_those_strictly_greater():
    z = torch.tensor([[3.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert decoding.compute_ranks(z, 0)[0].tolist() == [1, 1]
    assert decoding.compute_ranks(z, 3)[0].tolist() == [3, 1]
    assert decoding.compute_ranks(z, 1)[1].tolist() == [1.0, 0.0]
