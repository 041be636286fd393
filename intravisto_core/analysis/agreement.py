"""How far two orders of the tokens of a text agree, with and without what position alone says (docs/methods.md §9)."""

from __future__ import annotations

from math import sqrt

import numpy as np
from jaxtyping import Float

from intravisto_core.analysis.effects import compute_rank_correlation


def compute_partial_correlation(
    a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], third: Float[np.ndarray, " n"]
) -> float:
    """Spearman's correlation of a and b with a third order partialled out; NaN where that says all of one of them."""
    ab, at, bt = (compute_rank_correlation(x, y) for x, y in ((a, b), (a, third), (b, third)))
    rest = (1 - at * at) * (1 - bt * bt)
    return (ab - at * bt) / sqrt(rest) if rest > 1e-12 else float("nan")


def share_top(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """1 where the largest of a is the largest of b; shared among those that are equally large in a."""
    largest = np.flatnonzero(a == a.max())
    return float(int(b.argmax()) in largest) / len(largest)
