"""Captured values in the bits of the type that they were captured in: nothing is lost, and half of the bytes."""

from __future__ import annotations

import numpy as np


def narrow(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values in the bits of the type that they were captured in; bfloat16 as uint16. Nothing is lost."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
        return (bits >> 16).astype(np.uint16) if not (bits & 0xFFFF).any() else values
    if dtype == "float16":
        half = values.astype(np.float16)
        return half if np.array_equal(half.astype(np.float32), values, equal_nan=True) else values
    return values


def widen(stored: np.ndarray) -> np.ndarray:
    """What `narrow` stored, in float32."""
    if stored.dtype == np.uint16:
        wide: np.ndarray = (stored.astype("<u4") << 16).view("<f4")
        return wide
    return stored.astype(np.float32, copy=False)
