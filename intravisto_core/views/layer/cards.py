"""One head and one neuron at one position (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.layer_readings import Stream, project
from intravisto_core.analysis.parts import split_attention
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.records import HeadCard, TokenList
from intravisto_core.request import HeadView
from intravisto_core.request.ranges import index
from intravisto_core.sites import Site, TokenOrder
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.asked import Asked, read_angles, read_layer
from intravisto_core.views.layer.looks import find_looks
from intravisto_core.views.layer.sources import Brought, read_brought
from intravisto_core.views.layer.states import find_joined, read_base, stack_states

TOP, ROWS = 6, 6
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Written:
    """What one vector that joined the stream says. promoted, suppressed: with ranks in the stream before and after."""

    rank: int
    kl: float
    entropy: float
    promoted: TokenList
    suppressed: TokenList


def read_written(
    context: ViewContext, layer: int, asked: Asked, site: Site, vector: Float[Tensor, " d"], n: int, order: TokenOrder
) -> Written:
    """Tokens that a vector raised and lowered most, and what the stream says without it. site: where it is or joins."""
    model, angles = context.model, read_angles(context, order)
    names, streams = stack_states(context, layer, asked.position)
    x = streams[find_joined(names, site)]
    z = project(model, torch.stack([x, vector]))
    state = Stream(model, x, z[0], read_base(context))
    kl, entropy = state.losses(vector[None], z[1:])
    with_it, without = state.logits()[0], state.without(vector[None], z[1:])[0]
    scale = model.blueprint.logit_scale / float(model.norm.sigma(streams[-1]))
    scores = angles.scores(z[1:])[0]

    def listed(ids: Int[Tensor, " k"]) -> TokenList:
        ranks = [1 + (t > t[ids][:, None]).sum(-1) for t in (without, with_it)]
        return list_tokens(model, ids, z[1][ids] * scale, *ranks)

    return Written(
        rank=int(1 + (z[1] > z[1][asked.target]).sum()),
        kl=float(kl[0]),
        entropy=float(entropy[0]),
        promoted=listed(scores.topk(min(n, len(scores))).indices),
        suppressed=listed(scores.topk(min(n, len(scores)), largest=False).indices),
    )


def list_tokens(
    model: LoadedModel, ids: Tensor, changes: Tensor, before: Tensor | None = None, after: Tensor | None = None
) -> TokenList:
    """Tokens of this model as a list; without ranks they are 0."""
    nothing = torch.zeros_like(ids)
    numbers = ids.cpu().tolist()
    return TokenList(
        ids=ids.int().cpu().numpy(),
        changes=changes.float().cpu().numpy(),
        before=(nothing if before is None else before).int().cpu().numpy(),
        after=(nothing if after is None else after).int().cpu().numpy(),
        texts=tuple(model.reader.shown(i) for i in numbers),
    )


def compute_head(context: ViewContext, view: HeadView) -> Generator[Progress, None, HeadCard]:
    """One head at one position.

    Raises:
        RequestError: no such layer, head, position or token.
        ModelError: the model fails an identity that heads rest on.
    """
    layer, model, size = read_layer(context, view.layer), context.model, context.model.dimensions
    asked = Asked.of(context, view)
    head = index(view.head, size.n_heads, "head")
    z = context.data.site(Site.Z, layer)[:, asked.position : asked.position + 1]
    vector = split_attention(model, layer, z)[0][head, 0]
    yield Progress(1, 3, "reading the head")
    brought = read_brought(context, layer, asked)
    edited = brought.edited[head]
    pulls = asked.gauge.pulls(vector[None])[0]
    written = read_written(context, layer, asked, Site.ATTN_OUT, vector, view.n, view.order)
    yield Progress(2, 3, "reading its sources")
    angles = read_angles(context, view.order)
    chosen = choose_sources(brought, head, min(view.sources, asked.position + 1))
    said = project(model, write_values(brought, head, chosen))
    ranks = 1 + (said > said[:, asked.target, None]).sum(-1)
    source_ids = angles.scores(said).topk(min(TOP, said.shape[1]), -1).indices.int().cpu().numpy()
    looks = find_looks(context, layer, head, asked.position, chosen, angles, min(TOP, size.d_vocab))
    learned = float((1 - brought.pattern[head].sum()).clamp(min=0)) if _has_learned(context, layer) else 0.0
    rows = read_rows(context, layer, head, brought, asked, vector)
    row_ids = angles.scores(project(model, rows.vectors)).topk(source_ids.shape[1], -1).indices.int().cpu().numpy()
    listed = (source_ids, looks.query, looks.keys, looks.values, row_ids)
    ids = {i for each in listed for i in each.ravel().tolist()} - {-1}
    yield Progress(3, 3)
    return HeadCard(
        trace=context.entry.id,
        model=model.name,
        tokens=context.entry.tokens,
        d_vocab=size.d_vocab,
        layer=layer,
        head=head,
        kv_head=head * size.n_kv_heads // size.n_heads,
        position=asked.position,
        target_id=asked.target,
        target=model.reader.shown(asked.target),
        contrast=model.reader.shown(asked.contrast),
        order=view.order,
        size=float(vector.norm()),
        pull=float(pulls[0]),
        versus=float(pulls[1]),
        rank=written.rank,
        kl=written.kl,
        entropy_change=written.entropy,
        weights=_numbers(brought.pattern[head]),
        scores=_numbers(read_scores(context, layer, head, asked.position)),
        value_sizes=_numbers(brought.value_lengths[head]),
        sizes=_numbers(brought.lengths[head]),
        pulls=brought.pulls[head].double().cpu().numpy(),
        pulls_versus=brought.versus[head].double().cpu().numpy(),
        sink_weight=learned,
        edited=edited,
        source_position=np.array(chosen, np.int32),
        source_rank=ranks.int().cpu().numpy(),
        source_ids=source_ids,
        key_ids=looks.keys,
        query_ids=looks.query,
        value_ids=looks.values,
        row_index=np.array(rows.index, np.int32),
        row_value=_numbers(rows.values),
        row_size=_numbers(rows.vectors.norm(dim=-1)),
        row_pull=asked.gauge.pulls(rows.vectors)[:, 0].cpu().numpy(),
        row_ids=row_ids,
        promoted=written.promoted,
        suppressed=written.suppressed,
        shown={i: model.reader.shown(i) for i in sorted(ids)},
        notes=(*asked.notes, *looks.notes, *((EDITED,) if edited else ())),
    )


@dataclass(frozen=True, slots=True)
class OutputRows:
    """The numbers of a head's z that write most, and what each writes to the stream."""

    index: list[int]
    values: Float[Tensor, " R"]
    vectors: Float[Tensor, "R d"]


def read_rows(
    context: ViewContext, layer: int, head: int, brought: Brought, asked: Asked, whole: Float[Tensor, " d"]
) -> OutputRows:
    """Rows of the head's part of W_O, each times its number. whole: what the head writes, the sum of all of them."""
    z = context.data.site(Site.Z, layer)[head, asked.position].float()
    what = brought.moved
    each = what.w_o[:, head].T.float() * z[:, None]
    if what.norm is not None:
        each = what.norm.linear(each, each.new_ones(()))
    # the post-norm's scale is what the sum and the head differ by
    each = each * (whole.norm() / each.sum(0).norm().clamp(min=1e-12))
    best = each.norm(dim=-1).topk(min(ROWS, len(z))).indices
    return OutputRows(best.tolist(), z[best], each[best])


EDITED = "An edit wrote this head here: what it reads brings nothing, and its weights are what they would have been."


def _has_learned(context: ViewContext, layer: int) -> bool:
    facts = context.data.facts[layer]
    return facts is not None and facts.sinks is not None


def _numbers(x: Tensor) -> Array:
    found: Array = x.float().cpu().numpy()
    return found


def choose_sources(brought: Brought, head: int, n: int) -> list[int]:
    """The positions of which most is brought; where an edit wrote the head, those with the largest weight."""
    measure = brought.pattern[head] if brought.edited[head] else brought.lengths[head]
    return measure.topk(n).indices.tolist()


def write_values(brought: Brought, head: int, positions: list[int]) -> Float[Tensor, "n d"]:
    """What the values at some positions would write, the post-norm's σ left out."""
    what = brought.moved
    kv = head * what.v.shape[0] // what.w_o.shape[1]
    out = what.v[kv, positions].float() @ what.w_o[:, head].T
    if what.norm is not None:
        out = what.norm.linear(out, out.new_ones(()))
    return out * what.multiplier


def read_scores(context: ViewContext, layer: int, head: int, position: int) -> Float[Tensor, " T"]:
    """Scores of one query as the softmax gets them, NaN of keys that it cannot see; float32."""
    data, size = context.data, context.model.dimensions
    facts = data.facts[layer]
    assert facts is not None
    q = data.site(Site.Q, layer)[head, position].float()
    k = data.site(Site.K, layer)[head * size.n_kv_heads // size.n_heads].float()
    scores = k @ q * facts.scaling
    if facts.soft_cap:
        scores = torch.tanh(scores / facts.soft_cap) * facts.soft_cap
    if facts.key_bias is not None:
        scores = scores + facts.key_bias[head, : len(scores)].float()
    keys = torch.arange(len(scores), device=scores.device)
    hidden = (keys < data.first[layer][position]) | (keys > data.last[layer][position])
    return scores.masked_fill(hidden, nan)
