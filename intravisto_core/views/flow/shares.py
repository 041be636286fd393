"""Shares and divisions of a whole trace, computed once a layer and kept."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.division import Moved, Rewritten, divide_by_source, find_moved, measure_lengths
from intravisto_core.analysis.flow import Block, Junctions, PassingSources, Sources
from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress
from intravisto_core.request.flow import GENERATED, Position
from intravisto_core.request.ranges import index
from intravisto_core.sites import AttentionDivision, Capability, ShareMeasure, SinkHandling, Site
from intravisto_core.tracing.edited import EditedData
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.junctions import collect_junctions, rebuild_streams
from intravisto_core.views.shares import compute_share_table

LONG = 400
TURN_ELEMENTS = 1 << 26
ROW_ELEMENTS = 1 << 20

Queries = slice | Tensor


def read_start_row(context: ViewContext, row: int | None) -> int:
    """The row where mass enters.

    Raises:
        RequestError: not 1 to L+1.
    """
    top = context.model.dimensions.n_layers + 1
    if row is None:
        return top
    if not 1 <= row <= top:
        raise RequestError(expected("row", f"1 to {top}: mass goes down from there to the embeddings at row 0", row))
    return row


def read_start_positions(context: ViewContext, position: Position) -> tuple[int, ...]:
    """The positions where mass enters: the asked one, or all that say a generated token.

    Raises:
        RequestError: out of range; or no token was generated.
    """
    entry = context.entry
    if position != GENERATED:
        return (index(int(position), entry.length, "position"),)
    if entry.prompt_length >= entry.length:
        raise RequestError(
            f"position: {GENERATED!r} needs generated tokens; this trace has none. Run the prompt with max_new_tokens, "
            "or ask for one position"
        )
    return tuple(range(entry.prompt_length - 1, entry.length - 1))


def require_division(context: ViewContext, division: AttentionDivision) -> None:
    """Refuse a division whose identities failed for this model."""
    context.card.require(Capability.PATTERN)
    if division is not AttentionDivision.WEIGHTS:
        context.card.require(Capability.HEADS)


def has_sinks(context: ViewContext, layer: int) -> bool:
    """Whether a layer has learned sinks, which take attention that goes to no position."""
    facts = context.data.facts[layer]
    return facts is not None and facts.sinks is not None


def read_attention(
    context: ViewContext, layer: int, division: AttentionDivision | None, queries: Queries = slice(None)
) -> tuple[Tensor, Moved | None, Rewritten | None]:
    """The pattern of some queries, (H, Tq, T) float32; what they are moved, not for the weights alone; and where edits
    wrote in the attention's place.
    """
    pattern, edited = context.data.pattern(layer, queries=queries).float(), find_rewritten(context, layer, queries)
    if division is AttentionDivision.WEIGHTS:
        return pattern, None, edited
    return pattern, find_moved(context.model, layer, pattern, context.data.site(Site.V, layer), edited), edited


def find_rewritten(context: ViewContext, layer: int, queries: Queries = slice(None)) -> Rewritten | None:
    """The heads of a layer, or its whole attention, that edits of the run wrote at some queries; None without any."""
    data, size = context.data, context.model.dimensions
    edits = data.edits.sites if isinstance(data, EditedData) and data.edits is not None else ()
    here = [e for e in edits if e.layer == layer and e.site in (Site.Z, Site.ATTN_OUT)]
    if not here:
        return None
    heads = torch.zeros((size.n_heads, data.length), dtype=torch.bool)
    whole = torch.zeros(data.length, dtype=torch.bool)
    for edit in here:
        places = [p for p in edit.places if p < data.length]
        if edit.site is Site.ATTN_OUT:
            whole[places] = True
            continue
        columns = torch.zeros(size.n_heads * size.d_value, dtype=torch.bool)
        columns[edit.columns or slice(None)] = True
        heads[columns.view(size.n_heads, -1).any(1).nonzero(), places] = True
    z = data.site(Site.Z, layer)[..., queries, :].float()
    out, device = data.site(Site.ATTN_OUT, layer)[queries].float(), data.final.device
    return Rewritten(heads[:, queries].to(device), z, whole[queries].to(device), out)


def pass_by_residual(context: ViewContext, layer: int, shares: Arrays) -> Arrays:
    """Shares at the MLP junction of a serial block, the stream's 1 where no part brings the sum nearer in L1.

    Both parts lead to the same node there, so that nothing needs to be lost. Where an edit takes part, it is undefined.
    """
    if context.model.blueprint.parallel:
        return {}
    nothing = np.isnan(shares["mlp"])
    if not nothing.any():
        return {}
    if (wrote := find_mlp_edit(context, layer)) is not None:
        nothing &= wrote == 0
    *_, junction = collect_junctions(context.model, context.data, layer, rebuild_streams(context))
    for edit in junction.parts[2:]:
        nothing &= ~edit.any(-1).cpu().numpy()
    fixed = {"mlp": 0.0, "residual_mlp": 1.0, "intervention_mlp": 0.0}
    return {n: np.where(nothing, np.float32(v), shares[n]) for n, v in fixed.items() if n in shares}


def find_mlp_edit(context: ViewContext, layer: int) -> np.ndarray | None:
    """(T,) 1 where an edit wrote what the MLP would have written; None without any."""
    data = context.data
    edits = data.edits.sites if isinstance(data, EditedData) and data.edits is not None else ()
    places = [p for e in edits if e.layer == layer and e.site is Site.MLP_OUT for p in e.places if p < data.length]
    if not places:
        return None
    out = np.zeros(data.length)
    out[places] = 1
    return out


def is_long(context: ViewContext) -> bool:
    """Whether what is done for one row takes long enough for a turn, though all of it is kept."""
    return context.entry.length >= LONG


def compute_blocks(
    context: ViewContext, measure: ShareMeasure, division: AttentionDivision
) -> Generator[Progress, None, list[Block]]:
    """All that mass is handed down by; a turn is a layer."""
    require_division(context, division)
    table = yield from compute_share_table(context, measure)
    blocks = []
    n_layers = context.model.dimensions.n_layers
    for layer in range(n_layers):
        sources = yield from _sources(context, layer, division)
        here = {name: share[layer] for name, share in table.items()}
        if measure is ShareMeasure.L1:
            here |= pass_by_residual(context, layer, here)
        junctions = Junctions.of(here, context.model.blueprint.parallel)
        blocks.append(Block(junctions, sources, find_mlp_edit(context, layer)))
    return blocks


def _sources(
    context: ViewContext, layer: int, division: AttentionDivision
) -> Generator[Progress, None, Sources | PassingSources]:
    """Kept for a short text; those of a long one are made a stretch at a time, as T×T numbers a layer are too many."""
    n_layers = context.model.dimensions.n_layers
    if not is_long(context):
        found = context.find(("division", division, layer))
        if found is None:
            found = context.keep(("division", division, layer), _divide(context, layer, division))
            yield Progress(layer + 1, n_layers, "attention")
        return Sources.of(**found)
    scale = yield from compute_length_scale(context, layer, division)
    return PassingSources(partial(_stretches, context, layer, division, scale))


def compute_length_scale(
    context: ViewContext, layer: int, division: AttentionDivision, heads: bool = False
) -> Generator[Progress, None, float | None]:
    """The median of what the value-weighted division of each query divides by; None under the others."""
    if division is not AttentionDivision.VALUE_WEIGHTED:
        return None
    kept = context.find(("lengths", heads, layer))
    if kept is None:
        kept = context.keep(("lengths", heads, layer), _lengths_of(context, layer, heads))
        yield Progress(layer + 1, context.model.dimensions.n_layers, "attention")
    return float(torch.from_numpy(kept).median())


def set_sinks_aside(blocks: list[Block], sinks: list[np.ndarray], handling: SinkHandling) -> list[Block]:
    """The same with what is asked for done to attention to each layer's sinks."""
    each = zip(blocks, sinks, strict=True)
    return [replace(b, sources=b.sources.with_sinks(at, handling)) for b, at in each]


def _divide(
    context: ViewContext,
    layer: int,
    division: AttentionDivision,
    queries: Queries = slice(None),
    scale: float | None = None,
) -> Arrays:
    pattern, what, edited = read_attention(context, layer, division, queries)
    found = divide_by_source(division, pattern, what, has_sinks(context, layer), edited, scale)
    named = {"positions": found.parts, "sink": found.sink, "bias": found.bias, "intervention": found.edit}
    return {name: x.float().cpu().numpy() for name, x in named.items()}


def divide_in_stretches(context: ViewContext, queries: np.ndarray) -> Iterator[np.ndarray]:
    """Queries in stretches whose attention takes a bounded room over all heads."""
    size, length = context.model.dimensions, context.entry.length
    step = max(1, TURN_ELEMENTS // (size.n_heads * length))
    for first in range(0, len(queries), step):
        yield queries[first : first + step]


def _stretches(
    context: ViewContext, layer: int, division: AttentionDivision, scale: float | None, queries: np.ndarray
) -> Iterator[tuple[np.ndarray, Sources]]:
    """Rows of some queries, made now; in double precision a part of them at a time."""
    step = max(1, ROW_ELEMENTS // context.entry.length)
    for part in divide_in_stretches(context, queries):
        found = _divide(context, layer, division, torch.from_numpy(part), scale)
        for first in range(0, len(part), step):
            rows = slice(first, first + step)
            yield part[rows], Sources.of(**{name: a[rows] for name, a in found.items()})


def _lengths_of(context: ViewContext, layer: int, heads: bool) -> np.ndarray:
    out = np.zeros(context.entry.length, np.float32)
    for part in divide_in_stretches(context, np.arange(context.entry.length)):
        _, what, _ = read_attention(context, layer, AttentionDivision.VALUE_WEIGHTED, torch.from_numpy(part))
        assert what is not None
        out[part] = measure_lengths(what, heads).cpu().numpy()
    return out
