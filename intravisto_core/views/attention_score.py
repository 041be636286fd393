"""Why a head looks there: a score as (part at the query) × (part at the key), and its weight without each part."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.attention import compute_products
from intravisto_core.analysis.score_parts import Parts, ScoreSide
from intravisto_core.analysis.score_row import ScoreRow
from intravisto_core.errors import ModelError, RequestError, TraceError, expected
from intravisto_core.models.reader import read_readers
from intravisto_core.models.rotation import read_rotation
from intravisto_core.progress import Progress
from intravisto_core.records import AttentionScore
from intravisto_core.request import AttentionScoreView
from intravisto_core.request.attention import WEIGHTED
from intravisto_core.request.ranges import index
from intravisto_core.sites import Capability, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.stream_parts import gather_stream_parts

ALLOWED = {torch.float32: 1e-4}
ALLOWED_ELSE, ALLOWED_QUANTISED = 2e-2, 5e-2
EDITS, ROUNDING = "edits", "rounding of the stream"
FROZEN = "An edit put another pattern in place of this head's: the score is its own, the weight is not"

Array = np.ndarray


def compute_attention_score(
    context: ViewContext, view: AttentionScoreView, keep: str = ""
) -> Generator[Progress, None, AttentionScore]:
    """A score of a head, split; a turn is a layer below. keep: a part that is listed however small it is.

    Raises:
        RequestError: no such layer, head or position; the query does not see the key, or has no other.
        ModelError: q and k made again from the stream are not those of the run, with the reason.
    """
    context.card.require(Capability.PATTERN)
    context.card.require(Capability.HEADS)
    size, length = context.model.dimensions, context.entry.length
    layer, head = index(view.layer, size.n_layers, "layer"), index(view.head, size.n_heads, "head")
    query, key = index(view.query, length, "query"), index(view.key, length, "key")
    row = read_score_row(context, layer, head, query)
    place = _find_key(row, query, key, "key")
    held = _find_reference(row, place, query, view.against, length)
    split = yield from _split(context, layer, head, query, key, row, held)
    return _finish(context, view, (layer, head, query, key), row, place, held, split, keep)


def read_score_row(context: ViewContext, layer: int, head: int, query: int) -> ScoreRow:
    """The scores of a query as the run had them.

    Raises:
        TraceError: this layer's attention was never captured.
    """
    data = context.data
    facts, q, k = data.facts[layer], data.site(Site.Q, layer), data.site(Site.K, layer)
    if facts is None:
        raise TraceError(f"attention of layer {layer}: expected to capture it; it was never called as declared")
    own, one = k[head // (q.shape[0] // k.shape[0])], slice(query, query + 1)
    every = torch.arange(data.length, device=k.device)
    seen = (every >= data.first[layer, query].to(k.device)) & (every <= data.last[layer, query].to(k.device))
    cut = data.cut(layer, slice(head, head + 1), one)
    if cut is not None:
        seen &= ~cut[0, 0].to(seen.device)
    keys = torch.nonzero(seen)[:, 0]
    products = compute_products(q[head : head + 1, one], own[None], facts.scaling, facts.in_float32)[0, 0]
    bias = torch.zeros_like(products) if facts.key_bias is None else facts.key_bias[head, : data.length]
    return ScoreRow(
        keys=keys,
        products=products[keys].double(),
        bias=bias.to(keys.device)[keys].double(),
        soft_cap=facts.soft_cap,
        sink=None if facts.sinks is None else float(facts.sinks[head]),
        scaling=facts.scaling,
        q=q[head, query].double(),
        k=own[keys].double(),
    )


def _find_key(row: ScoreRow, query: int, key: int, name: str) -> int:
    """The place of a key among those that the query sees."""
    found = torch.nonzero(row.keys == key)[:, 0].tolist()
    if not found:
        seen = row.keys.tolist()
        words = f"{seen[0]} to {seen[-1]}" if seen else "none"
        raise RequestError(expected(name, f"a position that query {query} sees ({words})", key))
    return int(found[0])


@dataclass(frozen=True, slots=True)
class _Reference:
    """What a score is held against. weights: (n,) how much each seen key counts, or None for nothing."""

    name: str
    key: int
    weights: Float[Tensor, " n"] | None


def _find_reference(row: ScoreRow, place: int, query: int, against: int | str | None, length: int) -> _Reference:
    if against is None:
        return _Reference("none", -1, None)
    if isinstance(against, str):
        if len(row.keys) < 2:
            raise RequestError(
                f"against: expected a query that sees another key; query {query} sees {row.keys.tolist()} alone. "
                "Ask with against=None"
            )
        return _Reference(against, -1, row.reference_weights(place, against == WEIGHTED))
    other = index(against, length, "against")
    weights = torch.zeros_like(row.products)
    weights[_find_key(row, query, other, "against")] = 1
    return _Reference("key", other, weights)


@dataclass(slots=True)
class _Split:
    """What a score falls into. query, key: the parts of both ends. error: of q and k from those of the run."""

    query: Parts
    key: Parts
    sides: tuple[ScoreSide, ScoreSide]
    streams: Float[Tensor, "2 d"]
    error: float


def _split(
    context: ViewContext, layer: int, head: int, query: int, key: int, row: ScoreRow, held: _Reference
) -> Generator[Progress, None, _Split]:
    model, data = context.model, context.data
    readers, rotation = read_readers(model, layer), read_rotation(model, layer, data.length)
    group = model.dimensions.n_heads // model.dimensions.n_kv_heads
    kv, ends = head // group, torch.tensor([query, key], device=model.device)
    weights = held.weights
    # without a reference the key itself stands for it, and its average is left out
    keys = torch.tensor([key], device=model.device) if weights is None else row.keys[weights > 0]
    counts = torch.zeros(1, dtype=torch.float64) if weights is None else weights[weights > 0]
    x = data.site(Site.RESID_PRE, layer).float()
    q, k = data.site(Site.Q, layer)[head], data.site(Site.K, layer)[kv]
    of_query = ScoreSide.of(readers[0], head, rotation.at(ends[:1]), x[ends[:1]], q[ends[:1]], "query")
    of_key = ScoreSide.of(readers[1], kv, rotation.at(ends[1:]), x[ends[1:]], k[ends[1:]], "key")
    of_others = ScoreSide.of(readers[1], kv, rotation.at(keys), x[keys], k[keys], "key")
    error = _check(context, max(of_query.error, of_key.error, of_others.error), layer)
    counts = counts.to(x.device, torch.float32)[:, None]

    def average(projected: Tensor) -> Tensor:
        return (of_others.of_projected(projected) * counts).sum(1)

    found = yield from gather_stream_parts(context, layer, ends, keys, of_others.matrix, average)
    own = of_others.matrix
    if context.entry.request.interventions or model.dtype != torch.float32:
        rest = x[keys] - found.at_keys
        name = EDITS if context.entry.request.interventions else ROUNDING
        found.add([name], (x[ends] - found.at_ends)[None], average((rest @ own.T)[None]), rest)
    vectors = torch.cat(found.vectors)
    return _Split(
        query=_with_fixed(found.names, vectors[:, 0], of_query, None, None),
        key=_with_fixed(found.names, vectors[:, 1], of_key, torch.cat(found.averages), (of_others, counts)),
        sides=(of_query, of_key),
        streams=x[ends],
        error=error,
    )


def _check(context: ViewContext, error: float, layer: int) -> float:
    """Refuse what cannot be made again."""
    model = context.model
    allowed = ALLOWED_QUANTISED if model.quantisation else ALLOWED.get(model.dtype, ALLOWED_ELSE)
    if not error <= allowed:
        raise ModelError(
            f"scores of layer {layer}: expected queries and keys that follow from the stream by norm, projection, q/k "
            f"norm and rotary positions; made again they are off by {error:.1e} of their length ({allowed:.0e} is "
            f"allowed). In this {model.blueprint.architecture.family} model something stands between: no split is right"
        )
    return error


def _with_fixed(
    names: list[str],
    vectors: Float[Tensor, "p d"],
    side: ScoreSide,
    averages: Float[Tensor, "p d_qk"] | None,
    others: tuple[ScoreSide, Tensor] | None,
) -> Parts:
    """The parts of one end, with what is there whatever the stream is."""
    made = [side.of_stream(vectors[:, None])[:, 0], *side.fixed.values()]
    held = [made[0] if averages is None else made[0] - averages]
    for name, each in side.fixed.items():
        held.append(each if others is None else each - (others[0].fixed[name] * others[1]).sum(0, keepdim=True))
    blank = torch.full((len(side.fixed), vectors.shape[1]), torch.nan, device=vectors.device)
    return Parts([*names, *side.fixed], torch.cat([vectors, blank]), torch.cat(made).double(), torch.cat(held).double())


def _finish(
    context: ViewContext,
    view: AttentionScoreView,
    at: tuple[int, int, int, int],
    row: ScoreRow,
    place: int,
    held: _Reference,
    split: _Split,
    keep: str,
) -> AttentionScore:
    layer, head, query, key = at
    of_query = split.query.fold(split.query.made @ split.key.held.sum(0), view.most_parts, keep)
    of_key = split.key.fold(split.key.held @ split.query.made.sum(0), view.most_parts, keep)
    matrix = row.scaling * of_query.made @ of_key.held.T
    scores = row.finish(row.products)

    def less(x: Tensor) -> float:
        return float(x[place] - (0 if held.weights is None else (held.weights * x).sum()))

    total, added = less(scores), {}
    if row.soft_cap:
        added["soft_cap"] = less(scores - row.bias - row.products)
    if context.data.facts[layer].key_bias is not None:  # type: ignore[union-attr]
        added["alibi"] = less(row.bias)
    added["remainder"] = total - float(matrix.sum()) - sum(added.values())
    every = np.full(context.entry.length, np.nan, np.float32)
    every[row.keys.cpu().numpy()] = scores.cpu().numpy()
    weight = float(context.data.pattern(layer, slice(head, head + 1), slice(query, query + 1))[0, 0, key])
    own = float(row.weights(row.products)[place])
    frozen = abs(own - weight) > 1e-2
    return AttentionScore(
        trace=context.entry.id,
        model=context.model.name,
        tokens=context.entry.tokens,
        layer=layer,
        head=head,
        query=query,
        key=key,
        against=held.name,
        against_key=held.key,
        query_parts=tuple(of_query.names),
        key_parts=tuple(of_key.names),
        matrix=matrix.cpu().numpy(),
        added=added,
        total=total,
        score=float(scores[place]),
        reference=float(scores[place]) - total,
        weight=weight,
        scores=every,
        **_without_parts(row, place, of_query, of_key, split),
        error=split.error,
        notes=(*context.entry.notes, *((FROZEN,) if frozen else ())),
    )


def _without_parts(row: ScoreRow, place: int, of_query: Parts, of_key: Parts, split: _Split) -> dict[str, Array]:
    """The weight of the key without each part: by the split, and with the query or key made anew."""
    side_q, side_k = split.sides
    q, k = side_q.whole[0].double(), side_k.whole[0].double()
    new_q = side_q.without(split.streams[0], of_query.vectors).double() - q
    new_k = side_k.without(split.streams[1], of_key.vectors).double() - k
    at_key = torch.zeros_like(row.products)
    at_key[place] = 1
    changes = {
        "query_predicted": -(of_query.made @ row.k.T),
        "query_measured": new_q @ row.k.T,
        "key_predicted": -(of_key.made @ q)[:, None] * at_key,
        "key_measured": (new_k @ q)[:, None] * at_key,
    }
    found = {name: row.weights(row.products + row.scaling * change) for name, change in changes.items()}
    return {name: weights[:, place].cpu().numpy() for name, weights in found.items()}
