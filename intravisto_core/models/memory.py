"""Estimates with remedies: what a model and a run will take, from config and headers of weights (docs/loading.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from intravisto_core.errors import MemoryShortError
from intravisto_core.models.files import checkpoint
from intravisto_core.models.files.checkpoint import TensorHeader
from intravisto_core.models.files.folder import read_config, shown
from intravisto_core.models.files.settings import read_settings
from intravisto_core.models.free_memory import all_free
from intravisto_core.models.loaded import Dimensions, LoadedModel, exact_context
from intravisto_core.models.placement import device_of
from intravisto_core.models.run_memory import (
    cache_bytes,
    captured_bytes,
    trace_goes_to_file,
    whitening_bytes,
    workspace_bytes,
)
from intravisto_core.models.weight_memory import WeightBytes, weight_bytes
from intravisto_core.records.memory import MemoryEstimate, size
from intravisto_core.request import ModelSpec
from intravisto_core.sites import Site

PROBE = 24


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
