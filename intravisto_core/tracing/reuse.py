"""Run only what an edit can have changed: later layers, at later positions (docs/methods.md §8, reuse).

The KV cache is filled with the baseline's keys and values; layers below the edit hand on what they get, and the first
one that is run gets the baseline's stream. The model's own loop runs, so masks, windows and positions come out right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.pytorch_utils import Conv1D

from intravisto_core.architectures import AttentionKind, BlockModules
from intravisto_core.inspection.hooks import Handles, first_input, on_input, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.capture import CaptureSink
from intravisto_core.tracing.trace_data import TraceData

NEEDED = (Site.RESID_PRE, Site.K, Site.V)


@dataclass(frozen=True, slots=True)
class Reuse:
    """Layers before `layer`, and positions before `position`, are taken from `base`.

    known: positions before it read the baseline's tokens, and are run without choosing any.
    """

    base: TraceData
    layer: int
    position: int
    known: int


@dataclass(frozen=True, slots=True)
class Reused:
    """What an edit took from its baseline, without the baseline; see `Reuse`."""

    layer: int
    position: int
    known: int

    def of(self, base: TraceData) -> Reuse:
        """The same on the baseline's activations, which may have been made again."""
        return Reuse(base, self.layer, self.position, self.known)


def find_obstacle(model: LoadedModel, base: TraceData) -> str:
    """Why later rows cannot be run alone, or ""; what the reader is told."""
    config = model.network.config
    if model.blueprint.architecture.inferred:
        return "the model's family is not declared, so nobody has held reuse to a full run"
    if "int8" in str(model.quantisation):
        return "8-bit layers scale their inputs over all positions, so earlier rows change too"
    if reason := find_moving_rope(config, base.length):
        return reason
    if model.blueprint.architecture.w_out is None and model.dtype != torch.float32:
        return "below float32 rounding can send a position to other experts"
    if missing := [str(s) for s in NEEDED if s not in base.buffers]:
        return f"the baseline did not keep {', '.join(missing)}"
    places = {str(d) for d in (getattr(model.network, "hf_device_map", None) or {}).values()} - {"cpu", "disk"}
    if len(places) > 1:
        return "the model is spread over several devices"
    if getattr(config, "num_kv_shared_layers", 0):
        return "layers share their keys and values"
    return ""


def find_moving_rope(config: Any, length: int) -> str:
    """Why positions of a text of that length do not stay as they are, or ""."""
    rope = getattr(config, "rope_parameters", None) or {}
    for kind in (rope, *(v for v in rope.values() if isinstance(v, dict))):
        if kind.get("rope_type") not in ("dynamic", "longrope"):
            continue
        stated = kind.get("original_max_position_embeddings") or getattr(config, "max_position_embeddings", 0)
        if stated and length > int(stated):
            return f"its rotary embedding changes with the text's length beyond {int(stated)} positions"
    return ""


def fill_cache(model: LoadedModel, base: TraceData, stop: int) -> DynamicCache:
    """A cache that has seen the baseline's first `stop` positions, in every layer."""
    cache = DynamicCache(config=model.network.config)
    if stop:
        for layer in range(model.dimensions.n_layers):
            fill_layer(model, cache, base, layer, 0, stop)
    return cache


def catch_up(model: LoadedModel, cache: DynamicCache, reuse: Reuse, start: int, stop: int) -> None:
    """Give the layers that were left out of a call the baseline's keys and values of its positions."""
    for layer in range(reuse.layer):
        fill_layer(model, cache, reuse.base, layer, start, stop)


def fill_layer(
    model: LoadedModel, cache: DynamicCache, base: TraceData, layer: int, start: int, stop: int, batch: int = 1
) -> None:
    """Put the baseline's keys and values of positions start … stop into one layer of a cache, for each row alike."""
    repeats = 1
    if model.blueprint.architecture.attention_kind is AttentionKind.FALCON:
        # Falcon's new decoder keeps every key once for each of its query heads.
        new = model.network.config.new_decoder_architecture
        repeats = model.dimensions.n_heads // model.dimensions.n_kv_heads if new else 1
    k, v = (base.site(s, layer)[:, start:stop].repeat_interleave(repeats, 0)[None] for s in (Site.K, Site.V))
    cache.update(k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1), layer)


def copy_rows(sink: CaptureSink, reuse: Reuse) -> None:
    """Where room is kept for the layers that were left out, the baseline's rows of the known positions."""
    if sink.first_layer:
        return
    rows = slice(0, reuse.known - reuse.position)
    for site, buffer in sink.buffers.items():
        for layer in range(reuse.layer):
            stored = reuse.base.site(site, layer)
            if site is Site.Z:
                stored = stored.transpose(0, 1).flatten(1)
            dim = 1 if site in (Site.Q, Site.K, Site.V) else 0
            part = stored.narrow(dim, reuse.position, reuse.known - reuse.position)
            if dim:
                buffer[layer][:, rows] = part
            else:
                buffer[layer][rows] = part
    known = slice(reuse.position, reuse.known)
    sink.first[: reuse.layer, known] = reuse.base.first[: reuse.layer, known]
    sink.last[: reuse.layer, known] = reuse.base.last[: reuse.layer, known]


@contextmanager
def skipping(model: LoadedModel, reuse: Reuse, start: int, stop: int) -> Iterator[None]:
    """Within this context a forward call of positions start … stop runs only the layers from `reuse.layer`."""
    if not reuse.layer:
        yield
        return
    with only_layers(model, range(reuse.layer, len(model.blueprint.blocks)), reuse.base, start, stop):
        yield


@contextmanager
def only_layers(model: LoadedModel, layers: range, base: TraceData, start: int, stop: int) -> Iterator[None]:
    """Within this context a forward call of positions start … stop runs only these layers, on the baseline's stream.

    The layers above hand on what comes out of them, so the call's logits mean something only where there are none.
    """
    blocks = model.blueprint.blocks
    as_tuple = base.layers_are_tuples
    if layers.start == len(blocks):
        stream = base.site(Site.RESID_POST, len(blocks) - 1)[start:stop][None]
    else:
        stream = base.site(Site.RESID_PRE, layers.start)[start:stop][None]

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        x = first_input(args, kwargs)
        return (x, None) if as_tuple else x

    def give(*args: Any, **kwargs: Any) -> Any:
        given = first_input(args, kwargs)
        x = stream.to(given.device).expand(given.shape[0], -1, -1).clone()
        return (x, None) if as_tuple else x

    # Accelerate's dispatch is such an instance attribute itself, to be put back as it was.
    replaced = {i: hand_on for i in range(len(blocks)) if i not in layers}
    if layers.start:
        replaced[layers.start - 1] = give
    before = {i: blocks[i].layer.__dict__.get("forward") for i in replaced}
    try:
        for i, forward in replaced.items():
            blocks[i].layer.forward = forward
        yield
    finally:
        for i, own in before.items():
            if own is None:
                blocks[i].layer.__dict__.pop("forward", None)
            else:
                blocks[i].layer.forward = own


@contextmanager
def last_row_only(block: BlockModules, n: int) -> Iterator[None]:
    """Within this context the linear maps of a block that follow its attention work on the last of every n rows.

    The others come out as 0: right where nothing reads them, as in the last block when only the last row is asked for.
    Experts are left alone, whose maps are given rows of their own.
    """
    apart = set() if block.experts is None else {id(m) for m in block.layer.modules()}
    apart = (apart | {id(m) for m in block.attention.modules()}) - {id(block.w_o)}
    modules = [m for m in block.layer.modules() if type(m) in (nn.Linear, Conv1D) and id(m) not in apart]

    def narrow(x: Tensor) -> Tensor:
        last = x.reshape(-1, n, x.shape[-1])[:, -1:]
        return last if x.ndim == 3 else last[:, 0]

    def widen(out: Tensor) -> Tensor:
        batch, width = out.shape[0], out.shape[-1]
        rest = out.new_zeros((batch, n - 1, width))
        whole = torch.cat([rest, out.reshape(batch, 1, width)], dim=1)
        return whole if out.ndim == 3 else whole.flatten(0, 1)

    with Handles() as handles:
        for module in modules if n > 1 else ():
            handles.extend([on_input(module, narrow), on_output(module, widen)])
        yield
