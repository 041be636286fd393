"""The hooks through which interventions act: on module inputs and outputs, and in place on the middle of a block."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.architectures import BlockModules
from intravisto_core.inspection.hooks import on_input, on_output
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.expert_edits import apply_experts, select_rows
from intravisto_core.tracing.sink import Sink
from intravisto_core.tracing.site_edits import Frozen


def edit_hooks(sink: Sink, block: BlockModules, layer: int, multiplier: float) -> Iterator[RemovableHandle]:
    """Hooks of one block, in the order of the forward pass; they act while the sink is active."""
    edits, at = sink.edits, sink.edits_at
    if at(Site.RESID_PRE, layer):
        yield _change_input(sink, block.layer, Site.RESID_PRE, layer)
    if edits is not None and edits.on_pattern(layer):
        yield _change_pattern(sink, block.w_o, layer)
    if at(Site.Z, layer):
        yield _change_input(sink, block.w_o, Site.Z, layer)
    if at(Site.ATTN_OUT, layer):
        yield _change_output(sink, block.attn_out, Site.ATTN_OUT, layer, multiplier)
    if at(Site.RESID_MID, layer) and block.mid_reader is not None:
        yield _change_in_place(sink, block.mid_reader, layer)
    if at(Site.ACT, layer) and block.w_out is not None:
        yield _change_input(sink, block.w_out, Site.ACT, layer)
    if edits is not None and any(e.layer == layer for e in edits.experts):
        yield _change_experts(sink, block.mlp_out, layer)
    if at(Site.MLP_OUT, layer):
        yield _change_output(sink, block.mlp_out, Site.MLP_OUT, layer, multiplier)
    if at(Site.RESID_POST, layer):
        yield _change_output(sink, block.layer, Site.RESID_POST, layer, 1.0)


def _change_input(sink: Sink, module: nn.Module, site: Site, layer: int) -> RemovableHandle:
    def edit(edits: Edits, rows: Tensor, start: int) -> Tensor:
        return edits.apply(site, layer, rows, start)

    return on_input(module, lambda x: sink.change(x, edit, (site, layer)))


def _change_output(sink: Sink, module: nn.Module, site: Site, layer: int, multiplier: float) -> RemovableHandle:
    """multiplier: what the stream gets is that times the module's output; elements that stay keep their bits."""

    def edit(edits: Edits, rows: Tensor, start: int) -> Tensor:
        old = rows if multiplier == 1.0 else rows * multiplier
        new = edits.apply(site, layer, old, start)
        if new is old:
            return rows
        if multiplier == 1.0:
            return new
        return new / multiplier if edits.for_slopes else torch.where(new == old, rows, new / multiplier)

    return on_output(module, lambda x: sink.change(x, edit, (site, layer), multiplier))


def _change_experts(sink: Sink, module: nn.Module, layer: int) -> RemovableHandle:
    def edit(edits: Edits, rows: Tensor, start: int) -> Tensor:
        routing = select_rows(sink.routing[layer], start, start + len(rows))
        return apply_experts([e for e in edits.experts if e.layer == layer], routing, rows, start)

    return on_output(module, lambda x: sink.change(x, edit, (Site.ACT, layer)))


def _change_in_place(sink: Sink, reader: nn.Module, layer: int) -> RemovableHandle:
    """`resid_mid`: its first reader is given the stream itself, so writing there changes the stream."""

    def edit(edits: Edits, rows: Tensor, start: int) -> Tensor:
        return edits.apply(Site.RESID_MID, layer, rows, start)

    def change(x: Tensor) -> None:
        new = sink.change(x, edit, (Site.RESID_MID, layer))
        if new is not None:
            x.copy_(new)

    return on_input(reader, change)


def _change_pattern(sink: Sink, w_o: nn.Module, layer: int) -> RemovableHandle:
    """z, where no key is left or where the pattern is the baseline's."""

    def edit(edits: Edits, rows: Tensor, start: int) -> Tensor:
        new = edits.silence(layer, rows)
        for frozen in edits.frozen:
            if frozen.layer == layer:
                new = _frozen_values(sink, edits, layer, new, frozen)
        return new

    return on_input(w_o, lambda x: sink.change(x, edit, (Site.PATTERN, layer)))


def _frozen_values(
    sink: Sink, edits: Edits, layer: int, z: Float[Tensor, "n width"], frozen: Frozen
) -> Float[Tensor, "n width"]:
    """`P_baseline @ v` for the rows that the baseline has; rows whose pattern is the same anyway keep their bits."""
    start, stop = sink.start, min(sink.stop, frozen.base.length)
    if stop <= start:
        return z
    moved = frozen.heads.to(z.device)[:, None] & frozen.select(start, stop, z.device)
    # a pattern that is frozen has no slope, whether it has moved or not
    if not edits.for_slopes and frozen.source_layer is None:
        moved = moved & _moved(sink, edits, layer, frozen, stop)
    if not bool(moved.any()):
        return z
    rows = frozen.read(slice(None), slice(start, stop))[..., :stop].to(z.dtype)
    values = sink.so_far(Site.V, layer)[:, :stop]
    new = rows @ values.repeat_interleave(rows.shape[0] // values.shape[0], 0)
    out = z.clone()
    split = out.unflatten(1, (rows.shape[0], -1))
    split[: stop - start] = torch.where(moved.T[:, :, None], new.transpose(0, 1), split[: stop - start])
    return out


def _moved(sink: Sink, edits: Edits, layer: int, frozen: Frozen, stop: int) -> Bool[Tensor, "H n"]:
    """Rows of the call whose pattern can differ from the baseline's: by query, by a key before, or by a cut edge."""
    start = sink.start
    differs = [
        (sink.so_far(site, layer)[:, :stop] != frozen.base.site(site, layer)[:, :stop]).any(-1)
        for site in (Site.Q, Site.K)
    ]
    query, key = differs[0], differs[1].int().cummax(-1).values.bool()
    moved = (query | key.repeat_interleave(query.shape[0] // key.shape[0], 0))[:, start:]
    cut = edits.cut(layer, start, stop - start, 0, stop, moved.device)
    return moved if cut is None else moved | cut[0].any(-1)
