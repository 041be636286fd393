"""Intervals of means by drawing anew from what was measured."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000
LEVEL = 0.95
# numbers that one turn of resampling may hold
HELD = 4_000_000


def bootstrap_mean(values: Float[np.ndarray, "n ..."], seed: int = 0) -> Float[np.ndarray, "2 ..."]:
    """The ends of the 95 % interval of the mean over the first axis, by the percentiles of 10,000 resamples.

    The same resamples serve all numbers. NaN stays NaN.
    """
    n, flat = len(values), values.reshape(len(values), -1)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    out = np.empty((2, flat.shape[1]))
    step = max(1, HELD // RESAMPLES)
    for start in range(0, flat.shape[1], step):
        means = counts @ flat[:, start : start + step]
        out[:, start : start + step] = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return out.reshape(2, *values.shape[1:])
