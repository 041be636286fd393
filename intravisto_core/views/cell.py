"""Views of one cell, and of one token over all cells."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.decoding import find_top_tokens
from intravisto_core.analysis.lenses import compute_logits, compute_output_logits
from intravisto_core.analysis.shares import measure_shares
from intravisto_core.analysis.token_lengths import sort_by_angle
from intravisto_core.errors import RequestError, expected
from intravisto_core.lenses import Projection, table_lens
from intravisto_core.progress import Progress
from intravisto_core.records import CellShares, NextTokens, TokenQuery, UpdateTokens
from intravisto_core.request import CellSharesView, HeatmapView, NextTokensView, QueryView, UpdateView
from intravisto_core.request.ranges import index, indices
from intravisto_core.request.views import TOP_K_KEPT
from intravisto_core.sites import BlockKind, Component, Lens, NormPolicy, Reading, ShareMeasure, Site, TokenOrder
from intravisto_core.tracing.sampling import compute_next_distribution
from intravisto_core.views.context import ViewContext
from intravisto_core.views.heatmap import compute_heatmap
from intravisto_core.views.junctions import SHARE_NAMES, collect_junctions, rebuild_streams
from intravisto_core.views.tiles import TileKind, decode_followed
from intravisto_core.views.typed_tokens import read_token

AT_ONCE = 256


def _layer(context: ViewContext, row: int) -> int:
    n_layers = context.model.dimensions.n_layers
    if not 1 <= row <= n_layers:
        raise RequestError(expected("row", f"1 to {n_layers}, the output of a block", row))
    return row - 1


def _at(context: ViewContext, site: Site, layer: int, position: int) -> Tensor:
    return context.data.site(site, layer)[position].float()


def compute_update(context: ViewContext, view: UpdateView) -> Generator[Progress, None, UpdateTokens]:
    """Tokens that an update raised and lowered most, and where they stood in the stream before and after it."""
    model = context.model
    layer, position = _layer(context, view.row), index(view.position, context.entry.length, "position")
    pre, post, attention, mlp = (
        _at(context, s, layer, position) for s in (Site.RESID_PRE, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)
    )
    is_attention = view.component is Component.ATTENTION
    before = pre if is_attention or model.blueprint.parallel else pre + attention
    update = attention if is_attention else mlp
    x_hat = model.norm.linear(update, model.norm.sigma(post))[None]
    one = torch.ones(1, dtype=torch.float32, device=x_hat.device)
    change = compute_logits(model, Projection(x_hat, one, bias=False, capped=False))
    yield Progress(1, 2, "decoding")
    states = compute_output_logits(model, torch.stack([before, before + update]))
    scores = change
    if view.order is TokenOrder.ANGLE:
        scores, _ = sort_by_angle(change.clone(), one, context.token_lengths())
    high_ids, low_ids = (find_top_tokens(x, view.n)[1] for x in (scores, -scores))
    high, low = change.gather(1, high_ids), change.gather(1, low_ids)

    def ranks_of(ids: Tensor) -> list[np.ndarray]:
        return [(1 + (z > z[ids[0]][:, None]).sum(-1)).int().cpu().numpy() for z in states]

    up, down = ranks_of(high_ids), ranks_of(low_ids)
    ids = {int(i) for i in (*high_ids[0].tolist(), *low_ids[0].tolist())}
    yield Progress(2, 2, "decoding")
    return UpdateTokens(
        model=model.name,
        trace=context.entry.id,
        component=view.component,
        row=view.row,
        position=position,
        promoted_ids=high_ids[0].int().cpu().numpy(),
        promoted=high[0].cpu().numpy(),
        promoted_before=up[0],
        promoted_after=up[1],
        suppressed_ids=low_ids[0].int().cpu().numpy(),
        suppressed=low[0].cpu().numpy(),
        suppressed_before=down[0],
        suppressed_after=down[1],
        shown={i: model.reader.shown(i) for i in sorted(ids)},
    )


def compute_cell_shares(context: ViewContext, view: CellSharesView) -> Generator[Progress, None, CellShares]:
    """Shares at the junctions of one cell under every measure; a turn is a measure."""
    model = context.model
    layer, position = _layer(context, view.row), index(view.position, context.entry.length, "position")
    measures = tuple(ShareMeasure)
    found = {name: np.full(len(measures), np.nan, np.float32) for name in SHARE_NAMES}
    missing: dict[ShareMeasure, str] = {}
    for i, measure in enumerate(measures):
        try:
            for junction in collect_junctions(model, context.data, layer, rebuild_streams(context)):
                parts = torch.stack([p[position] for p in junction.parts])[:, None]
                values = measure_shares(parts, measure, lambda x: compute_output_logits(model, x))
                for name, value in zip(junction.names, values, strict=True):
                    if name in found:
                        found[name][i] = float(value)
        except RequestError as error:
            missing[measure] = str(error)
        yield Progress(i + 1, len(measures), "shares")
    parallel = model.blueprint.parallel
    if parallel:
        found["residual_mlp"] = found["residual_attention"]
    block = str(BlockKind.PARALLEL if parallel else BlockKind.SERIAL)
    return CellShares(context.entry.id, view.row, position, block, measures, missing=missing, model=model.name, **found)


def compute_next_tokens(context: ViewContext, view: NextTokensView) -> Generator[Progress, None, NextTokens]:
    """The model's own distribution after a position, and the sampler's; nothing is run."""
    model = context.model
    position = index(view.position, context.entry.length, "position")
    logits = compute_output_logits(model, context.data.final[position : position + 1])[0]
    own, sampled = logits.double().softmax(-1), compute_next_distribution(logits, view.sampling)
    best = own.topk(min(view.n, own.shape[0]))
    yield Progress(1, 1)
    ids = best.indices
    return NextTokens(
        model_name=model.name,
        trace=context.entry.id,
        position=position,
        token_ids=ids.int().cpu().numpy(),
        model=best.values.float().cpu().numpy(),
        sampled=sampled[ids].float().cpu().numpy(),
        n_left=int((sampled > 0).sum()),
        shown={int(i): model.reader.shown(int(i)) for i in ids},
    )


def _changes(
    context: ViewContext, component: Component, positions: tuple[int, ...], token: int
) -> Generator[Progress, None, np.ndarray]:
    """What attention or MLP added to the logit of a token at the stream's scale: rows 0 … L+1, NaN at both ends."""
    kind = TileKind(component, table_lens(Lens.OUTPUT), NormPolicy.STREAM, Reading.TOP)
    out = np.full((context.model.dimensions.n_layers + 2, len(positions)), np.nan, np.float32)
    for start in range(0, len(positions), AT_ONCE):
        some = list(positions[start : start + AT_ONCE])
        out[1:-1, start : start + AT_ONCE] = decode_followed(context.model, context.data, kind, some, (token,))[token]
        yield Progress(start + len(some), len(positions), f"what {component.label} wrote")
    return out


def compute_query(context: ViewContext, view: QueryView) -> Generator[Progress, None, TokenQuery]:
    """Where a token first stands among the top k of the stream, and whether attention or MLP raised it there."""
    entry, n_layers = context.entry, context.model.dimensions.n_layers
    positions = indices(view.positions, entry.length, "positions")
    typed = read_token(context.model, view.token)
    counted = view.ranks or view.top_k > TOP_K_KEPT
    asked = HeatmapView(entry.id, positions=positions, watch=(view.token,), top_k=TOP_K_KEPT, ranks=counted)
    states = yield from compute_heatmap(context, asked)
    watched = states.watch[0]
    if counted:
        rank = watched.rank
    else:
        listed = states.token_ids == typed.id
        rank = np.where(listed.any(-1), 1 + listed.argmax(-1), 0).astype(np.int32)
    inside = (rank > 0) & (rank <= view.top_k)
    first = np.where(inside.any(0), inside.argmax(0), -1)
    change = {}
    for component in (Component.ATTENTION, Component.MLP):
        written = yield from _changes(context, component, positions, typed.id)
        change[component] = np.where(first < 0, np.nan, written[first, np.arange(len(positions))])
    attention, mlp = change[Component.ATTENTION], change[Component.MLP]

    def writer(column: int) -> str:
        row = int(first[column])
        if row in (0, n_layers + 1):
            return "final norm" if row else "embeddings"
        return "" if row < 0 else "attention" if attention[column] > mlp[column] else "mlp"

    return TokenQuery(
        model=context.model.name,
        trace=entry.id,
        text=typed.text,
        token_id=typed.id,
        n_tokens=typed.n_tokens,
        shown=context.model.reader.shown(typed.id),
        top_k=view.top_k,
        positions=np.array(positions),
        tokens=tuple(entry.tokens[p] for p in positions),
        rank=rank,
        probability=watched.probability,
        first_row=first.astype(np.int32),
        attention=attention.astype(np.float32),
        mlp=mlp.astype(np.float32),
        writer=tuple(writer(i) for i in range(len(positions))),
    )
