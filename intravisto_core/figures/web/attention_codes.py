"""Numbers of the attention page in few bytes: sizes in 16 bits, and keys of rows as how far each is from the last."""

from __future__ import annotations

import numpy as np

# sizes in 16 bits: from 1e-6 to 100 on a logarithmic scale, with their sign; same as attention_codes.js
SMALLEST, DECADES, CODES = 1e-6, 8, 32766
UNKNOWN = -32768  # the code of what is no number


def encode_sizes(values: np.ndarray) -> np.ndarray:
    """Sizes from 1e-6 to 100 with their sign in 16 bits, on a logarithmic scale: a step is .06 %; below it is 0."""
    told = np.isfinite(values)
    size = np.where(told, np.abs(values.astype(np.float64)), 0)
    code = 1 + np.rint(CODES / DECADES * np.log10(np.maximum(size, SMALLEST) / SMALLEST)).astype(np.int64)
    code = np.where(size < SMALLEST, 0, np.minimum(code, CODES + 1))
    return np.where(told, np.where(values < 0, -code, code), UNKNOWN).astype("<i2")


def encode_rises(starts: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Keys that rise in each row, as bytes: how far each is from the one before, seven bits a byte, the low ones first;
    the eighth bit says that more follow.
    """
    rises: np.ndarray = np.diff(keys.astype(np.int64), prepend=0)
    first = starts[:-1][np.diff(starts) > 0]
    rises[first] = keys[first]
    n_bytes = max(1, -(-int(rises.max(initial=0)).bit_length() // 7))
    left = rises[:, None] >> 7 * np.arange(n_bytes)  # what remains before each byte
    parts = (left & 127) | np.where(left >> 7 > 0, 128, 0)
    said = left > 0
    said[:, 0] = True
    return parts[said].astype("u1")
