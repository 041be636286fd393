"""What a model and a run will take, from its config and the headers of its weights (docs/loading.md)."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from intravisto_core.errors import MemoryShortError
from intravisto_core.models.files import checkpoint
from intravisto_core.models.files.checkpoint import TensorHeader
from intravisto_core.models.files.folder import read_config, shown
from intravisto_core.models.files.settings import read_settings
from intravisto_core.models.free_memory import all_free, free_bytes
from intravisto_core.models.loaded import Dimensions, LoadedModel, exact_context
from intravisto_core.models.placement import device_of
from intravisto_core.models.quantisation import INT8, NF4
from intravisto_core.models.weights import CHUNK
from intravisto_core.records.memory import MemoryEstimate, size
from intravisto_core.request import ModelSpec
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
PROBE = 24
# bytes a number that bitsandbytes takes besides a matrix in its dtype while it packs it, matrix by matrix: for 4 bits
# three steps in 4 bytes and two in 1, for 8 bits a half-precision copy and two steps in 4 bytes
PACKING = {NF4: 14, INT8: 10}
# experts that lie apart in the files are put together layer by layer: gate and up, two thirds, are there twice then
JOINING = 2 / 3
# bytes a number of the product with a packed matrix, and of its copy for sums over heads and neurons
UNPACKING = {NF4: 4, INT8: 8}
# what bitsandbytes keeps for good once it packed its first matrix and multiplied with it
AFTER_PACKING = 40 << 20
TABLES_OF_NF4 = 4 * (16 + 256 + 1)
BITS_OF_NF4 = 4 + 8 / 64 + 32 / (64 * 256)
# beside a matrix that was saved in 4 or 8 bits, in a dtype of their own
_OF_PACKED = (".absmax", ".nested_absmax", ".quant_map", ".nested_quant_map", ".SCB")
_ONE_EXPERT = re.compile(r"\.experts\.\d+\.")


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


def dimensions(settings: Any, tensors: list[TensorHeader]) -> Dimensions:
    """Sizes of a model from its config; the widths of vocabulary and MLP from the weights where these tell."""
    n_heads, d_model = int(settings.num_attention_heads), int(settings.hidden_size)
    d_head = int(getattr(settings, "head_dim", None) or d_model // n_heads)
    mlp = next(
        (
            getattr(settings, n)
            for n in ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
            if getattr(settings, n, None)
        ),
        4 * d_model,
    )
    experts = getattr(settings, "num_experts_per_tok", None)
    if experts:
        mlp = int(experts) * int(getattr(settings, "moe_intermediate_size", None) or mlp)
    tables = [t.shape[0] for t in tensors if len(t.shape) == 2 and t.shape[1] == d_model and not t.in_block]
    return Dimensions(
        n_layers=int(settings.num_hidden_layers),
        n_heads=n_heads,
        n_kv_heads=int(getattr(settings, "num_key_value_heads", None) or n_heads),
        d_model=d_model,
        d_head=d_head,
        d_value=d_head,
        d_mlp=int(mlp),
        d_vocab=max([int(settings.vocab_size), *tables]),
        context=exact_context(settings),
    )


def estimate(
    spec: ModelSpec,
    folder: Path,
    tensors: list[TensorHeader],
    prompt_tokens: int = 0,
    new_tokens: int = 0,
    sites: Any = None,
) -> MemoryEstimate:
    """`estimates.estimate_memory` of a folder whose headers were read."""
    config = read_config(folder)
    settings = read_settings(config, shown(folder))
    shape = dimensions(settings.get_text_config(), tensors)

    def weigh(spec: ModelSpec) -> tuple[WeightBytes, torch.dtype]:
        dtype = checkpoint.stored_dtype(config, tensors) if spec.dtype == "auto" else getattr(torch, spec.dtype)
        return weight_bytes(tensors, settings, dtype, spec), dtype

    return reckon(spec, shape, weigh, (prompt_tokens, new_tokens, sites))


def reckon(
    spec: ModelSpec,
    shape: Dimensions,
    weigh: Callable[[ModelSpec], tuple[WeightBytes, torch.dtype]],
    run: tuple[int, int, Any],
    packable: bool = True,
) -> MemoryEstimate:
    """An estimate with remedies.

    weigh: what a spec's weights take, and their dtype. run: tokens of the prompt, tokens to generate, sites. packable:
    whether the weights can be quantised, or left on disk.
    """
    prompt_tokens, new_tokens, sites = run

    def made(spec: ModelSpec, prompt: int, sites: Any) -> MemoryEstimate:
        weights, dtype = weigh(spec)
        run = _run_of(shape, False, prompt, new_tokens, dtype.itemsize, sites, spec.quantisation)
        return replace(
            run,
            weights=weights.held,
            offloaded=weights.offloaded,
            loading=weights.loading,
            mapped=weights.mapped,
            stays=weights.stays,
            device=str(device_of(spec.device_map)),
        )

    first = made(spec, prompt_tokens or PROBE, sites)
    if first.verdict == "fits":
        return first
    others = {
        f"a prompt of {prompt_tokens // 2} tokens": (spec, prompt_tokens // 2, sites),
        "fewer sites (only the streams)": (spec, prompt_tokens, (Site.RESID_PRE,)),
        "precision bfloat16": (_other(spec, dtype="bfloat16"), prompt_tokens, sites),
    }
    packed = {
        "8 bits (int8)": (_other(spec, quantisation="int8"), prompt_tokens, sites),
        "4 bits (nf4)": (_other(spec, quantisation="nf4"), prompt_tokens, sites),
        "weights read from disk (offload)": (
            _other(spec, quantisation=None, device_map="offload"),
            prompt_tokens,
            sites,
        ),
    }
    others |= packed if packable else {}
    tried = {name: made(other, *given) for name, (other, *given) in others.items() if other is not None}
    return replace(first, remedies=_remedies(first, tried))


def run_estimate(
    model: LoadedModel,
    prompt_tokens: int,
    new_tokens: int,
    sites: Any = None,
    besides: Callable[[int], int] = lambda length: 0,
) -> MemoryEstimate:
    """What a run takes beside a model that is loaded. besides: bytes that are kept of a text of that length, too."""
    parallel, itemsize = model.blueprint.parallel, model.dtype.itemsize

    def made(prompt: int, sites: Any) -> MemoryEstimate:
        run = _run_of(model.dimensions, parallel, prompt, new_tokens, itemsize, sites, model.quantisation)
        return replace(run, device=str(model.device), trace=run.trace + besides(prompt + new_tokens))

    first = made(prompt_tokens, sites)
    if first.verdict == "fits":
        return first
    others = {
        f"a prompt of {prompt_tokens // 2} tokens": made(prompt_tokens // 2, sites),
        "fewer sites (only the streams)": made(prompt_tokens, (Site.RESID_PRE,)),
    }
    return replace(first, remedies=_remedies(first, others))


def whitening_bytes(shape: Dimensions, n_covariances: int) -> int:
    """What measuring the vocabulary takes: its covariances, and while they are put together four such matrices more."""
    return (n_covariances + 4) * 8 * shape.d_model**2


def add_whitening(found: MemoryEstimate, shape: Dimensions) -> MemoryEstimate:
    """An estimate of a run with what the first whitened vector takes for one table, which comes before the run."""
    return replace(found, workspace=max(found.workspace, whitening_bytes(shape, 1)))


def whitening_estimate(model: LoadedModel, n_covariances: int) -> MemoryEstimate:
    """What the first whitened vector of a model takes beside it."""
    return MemoryEstimate(
        weights=0,
        loading=0,
        kv_cache=0,
        trace=0,
        workspace=whitening_bytes(model.dimensions, n_covariances),
        device=str(model.device),
        free=all_free(),
    )


def require_room(found: MemoryEstimate, what: str) -> None:
    """Refuse on the CPU what does not fit; a GPU says so itself, and gives everything back.

    Raises:
        MemoryShortError: with the numbers, and what would fit.
    """
    if found.device == "cpu" and not found.fits:
        raise MemoryShortError(f"{what}: expected to fit into the memory that is free; it needs {found.text()}")


def _run_of(
    shape: Dimensions, parallel: bool, prompt: int, new: int, itemsize: int, sites: Any, packed: str | None
) -> MemoryEstimate:
    length, free = prompt + new, all_free()
    trace = captured_bytes(shape, parallel, length, itemsize, sites)
    in_file = trace_goes_to_file(trace, free["cpu"])
    return MemoryEstimate(
        weights=0,
        loading=0,
        kv_cache=cache_bytes(shape, length, itemsize),
        trace=0 if in_file else trace,
        in_file=trace if in_file else 0,
        workspace=workspace_bytes(shape, prompt, length, itemsize, packed),
        device="cpu",
        free=free,
    )


def _other(spec: ModelSpec, **changes: Any) -> ModelSpec | None:
    """The spec with something else, or None where that is what it has, or where it cannot be had."""
    if all(getattr(spec, name) == value for name, value in changes.items()):
        return None
    if changes.get("quantisation") and spec.device_map == "offload":
        return None
    return replace(spec, **changes)


def _remedies(first: MemoryEstimate, others: dict[str, MemoryEstimate]) -> tuple[str, ...]:
    """Those that save a tenth or more, with what they would need; those that fit only, if any do."""
    better = {name: e for name, e in others.items() if e.needed < 0.9 * first.needed}
    fitting = {name: e for name, e in better.items() if e.fits}
    return tuple(f"{name} ({size(e.needed)})" for name, e in (fitting or better).items())
