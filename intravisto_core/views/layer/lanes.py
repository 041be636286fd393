"""What attention and the MLP of one layer write at one position, cut into parts that add up (docs/methods.md §7)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.parts import split_attention
from intravisto_core.errors import ModelError
from intravisto_core.sites import Lane, LayerPart, Site
from intravisto_core.tracing.edited import EditedData
from intravisto_core.views.context import ViewContext
from intravisto_core.views.junctions import rebuild_streams
from intravisto_core.views.layer.layer_neurons import LayerNeurons
from intravisto_core.views.layer.pieces import Gauge, LaneParts, Piece

# of what a lane writes; more is no rounding
LARGEST_ROUNDING = 5e-2
SMALLEST_EDIT = 1e-4
# what a lane writes, and where it is in the stream
_SITES = {Lane.ATTENTION: (Site.ATTN_OUT, Site.RESID_MID), Lane.MLP: (Site.MLP_OUT, Site.RESID_POST)}


def split_attention_lane(context: ViewContext, layer: int, position: int, gauge: Gauge, n: int) -> LaneParts:
    """The heads of a layer, the n largest apart, its bias, and what an edit put there."""
    data, at = context.data, slice(position, position + 1)
    written, rest = split_attention(context.model, layer, data.site(Site.Z, layer)[:, at])
    heads, bias = written[:, 0], rest[0]
    sizes = heads.norm(dim=-1)
    chosen = gauge.choose(sizes, gauge.pulls(heads), n)
    lane = LaneParts(sizes=sizes)
    lane.pieces = [Piece(LayerPart.HEAD, Lane.ATTENTION, heads[h], h) for h in chosen]
    left = sorted(set(range(len(heads))) - set(chosen))
    if left:
        lane.pieces.append(Piece(LayerPart.OTHERS, Lane.ATTENTION, heads[left].sum(0), count=len(left)))
    if bool(bias.any()):
        lane.pieces.append(Piece(LayerPart.ATTENTION_BIAS, Lane.ATTENTION, bias))
    _close(context, lane, Lane.ATTENTION, layer, position)
    return lane


def split_mlp_lane(context: ViewContext, layer: int, position: int, gauge: Gauge, n: int) -> LaneParts:
    """The neurons of a layer, the n largest apart, its biases, and what an edit put there; by expert."""
    neurons = LayerNeurons.of(context, layer, position, gauge)
    lane = LaneParts(sizes=neurons.sizes)
    chosen = gauge.choose(neurons.sizes, neurons.pulls, n)
    if any(block.expert >= 0 for block in neurons.blocks):
        for number, block in enumerate(neurons.blocks):
            lane.pieces += neurons.open_expert(number, [i for i in chosen if neurons.block_of(i) is block])
    else:
        lane.pieces += neurons.rows(chosen, 0)
    if neurons.shift is not None and bool(neurons.shift.any()):
        lane.pieces.append(Piece(LayerPart.MLP_BIAS, Lane.MLP, neurons.shift))
    _close(context, lane, Lane.MLP, layer, position)
    return lane


def _close(context: ViewContext, lane: LaneParts, which: Lane, layer: int, position: int) -> None:
    """What the stream has besides the parts: an edit's part, or rounding.

    Raises:
        ModelError: it is neither.
    """
    data, parts = context.data, [p.vector for p in lane.pieces if not p.nested]
    lane.total = sum(parts, torch.zeros_like(data.final[position].float()))
    wanted = _joined(context, which, layer, position)
    rest = wanted - lane.total
    share = float(rest.norm()) / max(float(wanted.norm()), float(lane.total.norm()), 1e-12)
    if share > SMALLEST_EDIT and _was_written(context, which, layer, position):
        lane.pieces.append(Piece(LayerPart.INTERVENTION, which, rest))
        lane.total = wanted
    elif share > LARGEST_ROUNDING:
        raise ModelError(
            f"layer {layer}, position {position}: expected parts that add up to what {which.label} wrote; they miss "
            f"{share:.0%} of it, so they are not shown. Trace the text again"
        )
    lane.rounding = _read_step(context, which, layer, position) - lane.total


def _was_written(context: ViewContext, which: Lane, layer: int, position: int) -> bool:
    """Whether an edit put something where a lane joins the stream."""
    data, edits = context.data, context.entry.request.interventions
    out, after = _SITES[which]
    bound = data.edits.sites if isinstance(data, EditedData) and data.edits is not None else ()
    if any(e.layer == layer and e.site is out and position in e.places for e in bound):
        return True
    anywhere = bool(context.entry.only_once) or any(e.site is None for e in edits)
    return anywhere or (after, layer) in rebuild_streams(context)


def _joined(context: ViewContext, which: Lane, layer: int, position: int) -> Float[Tensor, " d"]:
    """What a lane brought to the stream, with what an edit of the stream put in right after it."""
    out, after = _SITES[which]
    between = after is Site.RESID_MID and context.model.blueprint.parallel
    if (after, layer) in rebuild_streams(context) and not between:
        return _read_step(context, which, layer, position)
    return context.data.site(out, layer)[position].float()


def _read_step(context: ViewContext, which: Lane, layer: int, position: int) -> Float[Tensor, " d"]:
    """How the stream moved where a lane joined it; of a parallel block, attention's is what it wrote."""

    def read(site: Site) -> Tensor:
        return context.data.site(site, layer)[position].float()

    if context.model.blueprint.parallel:
        written = read(Site.ATTN_OUT)
        return written if which is Lane.ATTENTION else read(Site.RESID_POST) - read(Site.RESID_PRE) - written
    if which is Lane.ATTENTION:
        return read(Site.RESID_MID) - read(Site.RESID_PRE)
    return read(Site.RESID_POST) - read(Site.RESID_MID)
