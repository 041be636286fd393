"""Whether an edit does more than its controls (docs/methods.md §9): numbers in, a judgement out."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float

from intravisto_core.sites import Verdict

RESAMPLES = 10_000
COVERED = 0.95
LEAST_PROMPTS = 8
SIGN_TEST = 0.05


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a test came to. control: index of the kind k*. missing: what is missing for "supported", in words."""

    control: int
    differences: Float[np.ndarray, " P"]
    interval: tuple[float, float]
    rank: float
    verdict: Verdict
    missing: tuple[str, ...]


def judge(moved: Float[np.ndarray, " P"], draws: Float[np.ndarray, "P K R"], noise: float, seed: int = 0) -> Judgement:
    """Hold an edit against the strongest kind of control.

    moved: s·Δm of the edit in each prompt. draws: Δm of the controls, NaN where none was drawn; each prompt has one of
    each kind at least. noise: what a mean effect must exceed.
    """
    sizes = np.abs(draws)
    means = np.nanmean(sizes, axis=2)
    control = int(means.mean(axis=0).argmax())
    differences = moved - means[:, control]
    interval = resample_interval(moved, means, seed)
    missing = tuple(_list_missing(moved, differences, interval[0], noise))
    n = len(moved)
    verdict = Verdict.NOT_DISTINGUISHABLE if missing else Verdict.SUPPORTED
    return Judgement(
        control,
        differences,
        interval,
        compute_rank(moved, sizes[:, control]),
        Verdict.ANECDOTE if n == 1 else verdict,
        missing,
    )


def resample_interval(
    moved: Float[np.ndarray, " P"], means: Float[np.ndarray, "P K"], seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of the mean of d: prompts drawn anew with replacement, k* chosen again in each resample.

    means: of |Δm| over the draws of each kind. The interval of one prompt is NaN.
    """
    n = len(moved)
    if n < 2:
        return float("nan"), float("nan")
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    found = counts @ moved - (counts @ means).max(axis=1)
    low, high = np.quantile(found, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)


def compute_rank(moved: Float[np.ndarray, " P"], sizes: Float[np.ndarray, "P R"]) -> float:
    """(1 + draws that do as much in their prompt) / (1 + draws); small where hardly any control does."""
    drawn = ~np.isnan(sizes)
    return float((1 + (sizes[drawn] >= np.repeat(moved, drawn.sum(1))).sum()) / (1 + drawn.sum()))


def least_positive(n: int) -> int:
    """Of n prompts, in how many the edit must do more: where a coin would come to that in at most 5 % of cases.

    7 of 8, 9 of 10, 10 of 12. n + 1, which cannot be reached, below 5 prompts.
    """
    tail = 0
    for positive in range(n, -1, -1):
        tail += comb(n, positive)
        if tail > SIGN_TEST * 2**n:
            return positive + 1
    return 0


def _list_missing(
    moved: Float[np.ndarray, " P"], differences: Float[np.ndarray, " P"], low: float, noise: float
) -> list[str]:
    n, positive = len(moved), int((differences > 0).sum())
    found = []
    if n < LEAST_PROMPTS:
        found.append(f"at least {LEAST_PROMPTS} prompts; there {'is 1' if n == 1 else f'are {n}'}")
    if not low > 0 and n > 1:
        found.append("an interval that is above 0")
    if n >= LEAST_PROMPTS and positive < (least := least_positive(n)):
        found.append(f"more than the control in at least {least} of {n} prompts; it is in {positive}")
    if not moved.mean() > noise:
        found.append("a mean effect, in the direction of the claim, above the noise floor")
    return found
