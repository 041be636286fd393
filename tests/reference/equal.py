"""How equal two results must be.

Of one model over the same buffers the same calls give the same bits: `np.array_equal`. Between two instances of a
model, two machines, or batches of two shapes, the kernels may add in another order: `assert_close`.
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-6


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Assert that results differ by that part of the largest, or of 1, at most; blanks must be blank in both."""
    size = max(1.0, float(np.nanmax(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * size, equal_nan=True)
