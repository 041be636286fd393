"""Faithfulness of sets of parts, and the areas under its curve (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.analysis.bootstrap import LEVEL, RESAMPLES

# a denominator counts from so many noise floors on
LEAST_FLOORS = 5
# (sets, N) bool: which parts each keeps
Sets = np.ndarray


def integrate_curve(shares: Float[np.ndarray, " K"], values: np.ndarray, at_0: float) -> np.ndarray:
    """The area under values (…, K) at shares, from 0 on, where they are `at_0`, by the trapezoid rule."""
    x = np.concatenate([[0.0], shares])
    y = np.concatenate([np.full((*values.shape[:-1], 1), at_0), values], -1)
    return np.trapezoid(y, x, axis=-1)


def compute_areas(
    shares: Float[np.ndarray, " K"], signed: np.ndarray, by_size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """CPR and CMD of curves (…, K): ∫ f of parts by score, f(0) = 0; ∫ |1 − f| of parts by |score|, 1 at 0."""
    return integrate_curve(shares, signed, 0.0), integrate_curve(shares, np.abs(1 - by_size), 1.0)


def count_sizes(shares: tuple[float, ...], n: int) -> Int[np.ndarray, " K"]:
    """How many of n parts each share is; a small one is one part."""
    return np.maximum(1, np.round(np.array(shares) * n).astype(int))


def take_largest(scores: Float[np.ndarray, " N"], sizes: Int[np.ndarray, " K"]) -> Sets:
    """For each size the set of so many parts of largest score."""
    order = np.argsort(-scores, kind="stable")
    out = np.zeros((len(sizes), len(scores)), bool)
    for row, size in zip(out, sizes.tolist(), strict=True):
        row[order[:size]] = True
    return out


def leave_out(kept: Bool[np.ndarray, " N"], parts: Sequence[int] | np.ndarray) -> Bool[np.ndarray, " N"]:
    """The set without some parts."""
    out = kept.copy()
    out[np.asarray(parts, int)] = False
    return out


def resample(statistic: Callable[[Float[np.ndarray, "B P"]], np.ndarray], n: int, seed: int) -> np.ndarray:
    """The 95 % interval (2, …) of a statistic of n pairs, from resamples of the pairs; NaN for one pair.

    statistic: of weights (B, n), each row of which sums to 1, to (B, …).
    """
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES if n > 1 else 1) / n
    found = statistic(counts)
    if n < 2:
        return np.full((2, *found.shape[1:]), np.nan)
    return np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


def weigh_faithfulness(
    weights: Float[np.ndarray, "B P"],
    m: Float[np.ndarray, "P k"],
    clean: Float[np.ndarray, " P"],
    corrupt: Float[np.ndarray, " P"],
) -> Float[np.ndarray, "B k"]:
    """f under each row of weights of the pairs: `(m(C) − m(∅)) / (m(M) − m(∅))`, each a weighted mean."""
    empty = weights @ corrupt
    return ((weights @ m) - empty[:, None]) / (weights @ clean - empty)[:, None]
