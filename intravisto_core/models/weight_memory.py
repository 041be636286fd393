"""Bytes that a checkpoint's weights take once they are loaded, and while they are (docs/loading.md)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from intravisto_core.models.files.checkpoint import TensorHeader
from intravisto_core.models.placement import device_of
from intravisto_core.models.quantisation import INT8, NF4
from intravisto_core.request import ModelSpec

# bytes a number that bitsandbytes takes besides a matrix in its dtype while it packs it, matrix by matrix: for 4 bits
# three steps in 4 bytes and two in 1, for 8 bits a half-precision copy and two steps in 4 bytes
PACKING = {NF4: 14, INT8: 10}
# experts that lie apart in the files are put together layer by layer: gate and up, two thirds, are there twice then
JOINING = 2 / 3
TABLES_OF_NF4 = 4 * (16 + 256 + 1)
BITS_OF_NF4 = 4 + 8 / 64 + 32 / (64 * 256)
# beside a matrix that was saved in 4 or 8 bits, in a dtype of their own
_OF_PACKED = (".absmax", ".nested_absmax", ".quant_map", ".nested_quant_map", ".SCB")
_ONE_EXPERT = re.compile(r"\.experts\.\d+\.")


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of weights: held in memory, left on disk, taken besides while loading, mapped from files meanwhile, and of
    these those that stay mapped because other weights lie in the same files."""

    held: int
    offloaded: int
    loading: int
    mapped: int
    stays: int


def weight_bytes(tensors: list[TensorHeader], settings: Any, dtype: torch.dtype, spec: ModelSpec) -> WeightBytes:
    """What a checkpoint's tensors take once loaded by a spec.

    Only matrices of the blocks are quantised, and no experts, which are stacked; a tied table is held once. On the CPU
    weights that stay as they are in the file are mapped into memory and not copied; else their pages are there beside
    the copy, until the system needs them.
    """
    tied = bool(getattr(settings, "tie_word_embeddings", False))
    used = [t for t in tensors if not (tied and t.name.endswith(("lm_head.weight", "embed_out.weight")))]
    on_cpu, views = device_of(spec.device_map).type == "cpu", False
    held = offloaded = mapped = packing = 0
    blocks: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for t in used:
        kept = t.torch_dtype is None or t.name.endswith(_OF_PACKED)
        nbytes = t.nbytes if kept else t.numel * dtype.itemsize
        apart = bool(_ONE_EXPERT.search(t.name))
        packed = spec.quantisation if t.in_block and len(t.shape) == 2 and not apart else None
        if on_cpu and not packed and not apart and (kept or t.torch_dtype == dtype):
            views = True
        else:
            mapped += t.nbytes
        if packed:
            packing = max(packing, t.numel * (dtype.itemsize + PACKING[packed]))
            nbytes = _packed_bytes(t, packed)
        block = next((part for part in t.name.split(".") if part.isdigit()), "")
        if apart:
            joined[block] += nbytes
        if spec.device_map == "offload" and t.in_block:
            offloaded += nbytes
            blocks[block] += nbytes
        else:
            held += nbytes
    joining = int(JOINING * max(joined.values(), default=0))
    loading = max([packing, joining, *blocks.values()])
    return WeightBytes(held, offloaded, loading, mapped, mapped if views else 0)


def _packed_bytes(tensor: TensorHeader, quantisation: str) -> int:
    if quantisation == NF4:
        return int(tensor.numel * BITS_OF_NF4 / 8) + TABLES_OF_NF4
    return tensor.numel + 4 * (tensor.numel // tensor.shape[-1])
