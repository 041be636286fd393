"""How many positions one forward call of a run reads."""

from __future__ import annotations

from intravisto_core.models import LoadedModel
from intravisto_core.models.run_memory import prefill_chunk

PREFILL_CHUNK = 512


def call_size(model: LoadedModel, length: int) -> int:
    """Queries a call, so that the scores over a long text stay small; by what is known before, so that a run that is
    made again has the same calls.

    A power of two, so that texts of like length have the same calls, and can share those of what they begin with.
    """
    most = min(PREFILL_CHUNK, prefill_chunk(model.dimensions.n_heads, length, model.dtype.itemsize))
    return 1 << most.bit_length() - 1
