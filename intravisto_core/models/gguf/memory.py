"""What a model in a GGUF file will take, from its header (docs/loading.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from intravisto_core.models.gguf.header import ArrayLength, GgufHeader
from intravisto_core.models.memory import dimensions, reckon
from intravisto_core.models.weight_memory import WeightBytes
from intravisto_core.records.memory import MemoryEstimate, size
from intravisto_core.request import ModelSpec

# copies of the largest tensor, in float32, that are there at once while it is unpacked
COPIES = 2
# bytes an element of a long array (the vocabulary, its merges), for which the reader makes several objects each
BYTES_OF_ELEMENT = 500


def dtype_of(spec: ModelSpec) -> torch.dtype:
    """The dtype that a file is unpacked to: float32 unless another is asked for."""
    named: torch.dtype = torch.float32 if spec.dtype == "auto" else getattr(torch, spec.dtype)
    return named


def weight_bytes(header: GgufHeader, dtype: torch.dtype) -> WeightBytes:
    """What a file's tensors take once unpacked, and what unpacking takes for a moment."""
    held = sum(t.numel for t in header.tensors) * dtype.itemsize
    elements = sum(v.n for v in header.metadata.values() if isinstance(v, ArrayLength))
    loading = COPIES * 4 * max(t.numel for t in header.tensors) + BYTES_OF_ELEMENT * elements
    return WeightBytes(held=held, offloaded=0, loading=loading, mapped=header.nbytes, stays=0)


def estimate_gguf(
    spec: ModelSpec, header: GgufHeader, settings: Any, prompt_tokens: int = 0, new_tokens: int = 0, sites: Any = None
) -> MemoryEstimate:
    """`estimates.estimate_memory` of a GGUF file whose header was read. settings: its configuration."""
    shape = dimensions(settings.get_text_config(), header.plain_tensors())

    def weigh(spec: ModelSpec) -> tuple[WeightBytes, torch.dtype]:
        dtype = dtype_of(spec)
        return weight_bytes(header, dtype), dtype

    found = reckon(spec, shape, weigh, (prompt_tokens, new_tokens, sites), packable=False)
    kinds = ", ".join(header.kinds)
    unpacked = str(dtype_of(spec)).removeprefix("torch.")
    return replace(found, note=f"The GGUF file ({size(header.nbytes)}, {kinds}) is unpacked to {unpacked}")
