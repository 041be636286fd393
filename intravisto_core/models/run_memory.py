"""Bytes that a run takes beside the model: activations, cache, what a call takes for a moment (docs/loading.md)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from intravisto_core.models.free_memory import free_bytes
from intravisto_core.models.loaded import Dimensions, LoadedModel
from intravisto_core.models.quantisation import INT8, NF4
from intravisto_core.models.weights import CHUNK
from intravisto_core.sites import Site

ATTENTION_BYTES = 256 << 20
LARGEST_CHUNK, SMALLEST_CHUNK = 512, 16
PART_FOR_TRACE = 0.5
PART_OF_DISK = 0.8
# a tile's logits, what its statistics take beside them, and what the C library keeps of one call for the next and all
# libraries take at their first
SMALL_RUN = 16 << 20
TILE_BYTES = 64 << 20
STATISTICS = 8 << 20
HEAP = 48 << 20
# bytes a number of the product with a packed matrix, and of its copy for sums over heads and neurons
UNPACKING = {NF4: 4, INT8: 8}
# what bitsandbytes keeps for good once it packed its first matrix and multiplied with it
AFTER_PACKING = 40 << 20


def prefill_chunk(n_heads: int, length: int, itemsize: int) -> int:
    """How many queries are run at once, so that eager attention's scores over `length` keys stay small.

    A score is there once in the model's dtype and twice in float32, before and after the softmax.
    """
    row = n_heads * max(1, length) * (itemsize + 8)
    return int(min(LARGEST_CHUNK, max(SMALLEST_CHUNK, ATTENTION_BYTES // row)))


def captured_bytes(shape: Dimensions, parallel: bool, length: int, itemsize: int, sites: Any = None) -> int:
    """Activations of a trace of `length` positions (docs/methods.md §1), and the final stream."""
    kept = {k for site in (Site if sites is None else map(Site, sites)) for k in site.captured} - {Site.RESID_POST}
    heads = {
        Site.Q: shape.n_heads * shape.d_head,
        Site.K: shape.n_kv_heads * shape.d_head,
        Site.V: shape.n_kv_heads * shape.d_value,
        Site.Z: shape.n_heads * shape.d_value,
        Site.ACT: shape.d_mlp,
        Site.RESID_MID: 0 if parallel else shape.d_model,
    }
    if sites is not None and Site.RESID_POST in map(Site, sites):
        kept.add(Site.RESID_PRE)
    width = sum(heads.get(site, shape.d_model) for site in kept)
    return length * itemsize * (shape.n_layers * width + shape.d_model)


def is_small_run(model: LoadedModel, prompt: int, new: int, sites: Any, besides: Callable[[int], int]) -> bool:
    """Whether a run takes so little that it is not held against what is free, as `require_free` does not either."""
    itemsize, length = model.dtype.itemsize, prompt + new
    kept = captured_bytes(model.dimensions, model.blueprint.parallel, length, itemsize, sites) + besides(length)
    working = workspace_bytes(model.dimensions, prompt, length, itemsize, model.quantisation)
    return kept + cache_bytes(model.dimensions, length, itemsize) + working <= SMALL_RUN


def trace_goes_to_file(nbytes: int, free: int | None = None) -> bool:
    """Whether a trace of that size is kept in a mapped file: it would take most of the memory that is free, and there
    is room on the disk."""
    if not nbytes or (free is None and nbytes <= SMALL_RUN):
        return False
    free = free_bytes(torch.device("cpu")) if free is None else free
    return nbytes > PART_FOR_TRACE * free and nbytes < PART_OF_DISK * shutil.disk_usage(tempfile.gettempdir()).free


def cache_bytes(shape: Dimensions, length: int, itemsize: int) -> int:
    """Keys and values of the model's cache, one layer twice: it grows by being copied."""
    return length * itemsize * (shape.n_layers + 1) * shape.n_kv_heads * (shape.d_head + shape.d_value)


def workspace_bytes(shape: Dimensions, prompt: int, length: int, itemsize: int, packed: str | None = None) -> int:
    """The most that one forward call, or decoding one tile of cells, takes for a moment."""
    chunk = min(prompt, prefill_chunk(shape.n_heads, prompt, itemsize))
    scores = shape.n_heads * chunk * max(1, prompt) * (itemsize + 8)
    mlp = chunk * (shape.d_mlp + 4 * shape.d_model) * 3 * itemsize
    cells = min(length * (shape.n_layers + 2) * shape.d_vocab * 4, TILE_BYTES)
    table = min(CHUNK, shape.d_vocab) * shape.d_model * (4 if itemsize < 4 else 0)
    matrix = shape.d_model * max(shape.d_mlp, shape.d_model) * UNPACKING[packed] if packed else 0
    taken = max(scores + mlp + matrix, cells + table + min(STATISTICS, cells))
    return taken + min(HEAP, taken) + (min(AFTER_PACKING, taken) if packed else 0)


def whitening_bytes(shape: Dimensions, n_covariances: int) -> int:
    """What measuring the vocabulary takes: its covariances, and while they are put together four such matrices more."""
    return (n_covariances + 4) * 8 * shape.d_model**2
