"""Whether an edit does more than its controls: by hand, beside scipy, and on effects that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from intravisto_core.analysis.evidence import compute_rank, judge, least_positive, resample_interval
from intravisto_core.sites import Verdict

NAN = np.nan


def test_the_strongest_kind_is_chosen_once_by_its_mean_over_prompts_and_draws():
    """Two prompts: kind 0 has the largest single draw and the larger value in the first prompt, kind 1 the mean."""
    draws = np.array([[[9.0, -1.0], [4.0, 4.0]], [[0.0, 0.0], [-4.0, 2.0]]])
    found = judge(np.array([6.0, 5.0]), draws, 0.1)
    assert found.control == 1, "means 2.5 and 3.5"
    assert found.differences.tolist() == [6 - 4, 5 - 3]
    assert found.rank == 1 / 5, "none of the four draws does as much"
    assert found.verdict is Verdict.NOT_DISTINGUISHABLE
    assert "8 prompts" in found.missing[0]


def test_draws_that_are_not_there_do_not_count():
    draws = np.array([[[1.0, 3.0, NAN]], [[2.0, NAN, NAN]]])
    found = judge(np.array([2.5, 2.0]), draws, 0.0)
    assert found.differences.tolist() == [0.5, 0.0]
    assert found.rank == (1 + 2) / (1 + 3)
    assert compute_rank(np.array([0.5]), np.array([[NAN, 1.0]])) == 1.0


@pytest.mark.parametrize("n", [*range(1, 13), 20, 50])
def test_how_many_prompts_must_be_positive_is_a_sign_test(n):
    least = least_positive(n)
    if least <= n:
        assert stats.binomtest(least, n, alternative="greater").pvalue <= 0.05
    assert least == 0 or stats.binomtest(least - 1, n, alternative="greater").pvalue > 0.05
    assert least_positive(8) == 7


def test_the_interval_is_that_of_scipy_where_there_is_one_kind():
    rng = np.random.default_rng(3)
    moved, means = rng.normal(2, 1, 15), np.abs(rng.normal(0, 1, (15, 1)))
    ours = resample_interval(moved, means, seed=4)
    wanted = stats.bootstrap(
        (moved - means[:, 0],), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    np.testing.assert_allclose(ours, wanted, atol=0.02)
    assert resample_interval(moved, means, seed=4) == ours
    assert resample_interval(moved, means, seed=5) != ours
    assert np.isnan(resample_interval(moved[:1], means[:1])).all()


def test_the_strongest_kind_is_chosen_again_in_each_resample():
    """Two kinds that take turns: each resample has one that is above its mean, so the interval lies lower."""
    moved, turns = np.full(8, 3.0), np.tile([0.0, 4.0], 4)
    both = resample_interval(moved, np.stack([turns, 4 - turns], 1))
    one = resample_interval(moved, turns[:, None])
    assert both[1] <= 1.0 < one[1]


def test_each_condition_alone_withholds_the_support():
    fine, draws = np.full(8, 5.0), np.full((8, 1, 5), 1.0)
    assert judge(fine, draws, 0.1).verdict is Verdict.SUPPORTED
    assert judge(fine[:7], draws[:7], 0.1).missing == ("at least 8 prompts; there are 7",)
    assert judge(fine[:1], draws[:1], 0.1).verdict is Verdict.ANECDOTE
    assert judge(fine, draws, 6.0).missing == ("a mean effect, in the direction of the claim, above the noise floor",)
    few = np.array([9.0] * 6 + [0.9] * 2)
    assert judge(few, draws, 0.1).missing == ("more than the control in at least 7 of 8 prompts; it is in 6",)
    assert len(judge(-fine, draws, 0.1).missing) == 3, "the claim has a sign"
