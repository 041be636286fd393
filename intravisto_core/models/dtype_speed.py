"""How fast this machine's processor multiplies in float32 and in bfloat16: measured once a process.

Without instructions for bfloat16 a long prompt takes several times as long in it, while single steps, which wait for
the weights, take less: the two dtypes are measured for both.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cache

import torch
from torch.nn.functional import linear

ROWS, WIDTH, MATRICES, REPETITIONS = 64, 1024, 4, 12
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class DtypeSpeed:
    """Seconds of one product of a vector, or of a row among many, with a square matrix.

    step: of a vector alone, as for a generated token. row: of one among many, as for a token of a prompt.
    """

    step: float
    row: float

    def estimate(self, prompt_tokens: int, new_tokens: int) -> float:
        """What a run takes for each of such matrices."""
        return prompt_tokens * self.row + new_tokens * self.step


@cache
def measure_dtypes() -> dict[str, DtypeSpeed]:
    """The speeds by dtype; takes some tenths of a second, once.

    The dtypes take turns, and the shortest time counts: what else the machine does at that moment is in the others.
    """
    # several matrices, more than the processor's cache holds: a step waits for its weights, as in a model
    weights = {name: [torch.ones(WIDTH, WIDTH, dtype=getattr(torch, name)) for _ in range(MATRICES)] for name in DTYPES}
    shortest = dict.fromkeys(((name, rows) for name in DTYPES for rows in (1, ROWS)), float("inf"))
    for _ in range(REPETITIONS + 1):
        for name, rows in shortest:
            shortest[name, rows] = min(shortest[name, rows], _time_products(weights[name], rows))
    return {name: DtypeSpeed(step=shortest[name, 1], row=shortest[name, ROWS] / ROWS) for name in DTYPES}


def _time_products(weights: list[torch.Tensor], rows: int) -> float:
    """Seconds of one product of that many rows."""
    x = torch.ones(rows, WIDTH, dtype=weights[0].dtype)
    began = time.perf_counter()
    for weight in weights:
        linear(x, weight)
    return (time.perf_counter() - began) / len(weights)


_thread = threading.Thread(target=measure_dtypes, name="intravisto-dtypes")
_starting = threading.Lock()


def is_measured() -> bool:
    """Whether the speeds are known; the first call has them measured meanwhile."""
    with _starting:
        if _thread.ident is None:
            _thread.start()
    return not _thread.is_alive()


def compare_dtypes(
    dtype: str, prompt_tokens: int, new_tokens: int, n_parameters: int, seconds: float | None = None
) -> tuple[str, float] | None:
    """The other dtype, and how many times as long a run takes in it as in `dtype`; None where none is compared.

    n_parameters: of the model, which are multiplied with once a token. seconds: what the run takes in `dtype` as far as
    is known; what of it is no product stays the same in the other dtype.
    """
    other = {"float32": "bfloat16", "bfloat16": "float32"}.get(dtype)
    if other is None or prompt_tokens + new_tokens < 1:
        return None
    speeds, products = measure_dtypes(), n_parameters / WIDTH**2
    own, theirs = (products * speeds[name].estimate(prompt_tokens, new_tokens) for name in (dtype, other))
    rest = max(0.0, (seconds or 0.0) - own)
    return other, (theirs + rest) / (own + rest)
