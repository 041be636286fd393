"""Attention of any heads, queries and keys: the rows that are asked for are computed from q and k, no others."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from intravisto_core.analysis.head_strength import Rows, compute_gram, mean_of_layers, measure_strength
from intravisto_core.errors import RequestError
from intravisto_core.progress import Progress
from intravisto_core.records import Attention, SparseAttention
from intravisto_core.records.attention import MEAN_HEAD, MEAN_LAYER
from intravisto_core.request import AttentionView, SparseAttentionView
from intravisto_core.request.attention import MEAN
from intravisto_core.request.checks import Selection
from intravisto_core.request.ranges import index, indices
from intravisto_core.sites import AttentionDivision, Capability, SinkHandling, Site
from intravisto_core.views.context import ViewContext
from intravisto_core.views.sinks import read_sinks

LARGEST_BYTES = 64_000_000
ELEMENTS = 1 << 20  # of a pattern at a time, which stay near the processor
LEAST_LEFT = 0.1  # of a row, what its smaller entries are held against at least
EDITED = "An edit wrote in place of heads here: their attention is what they read, not what stands in the stream"

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class HeadRows:
    """Where rows of heads are computed: the heads of one layer, as stretches, and what is done with them.

    heads: the heads, in order. mean: whether their mean is taken. sinks: the keys that are hidden.
    """

    context: ViewContext
    layer: int
    heads: tuple[int, ...]
    mean: bool
    strength: AttentionDivision
    sinks: Bool[Tensor, " T"]

    @property
    def n_rows(self) -> int:
        """How many rows there are for each query."""
        return 1 if self.mean else len(self.heads)

    def steps(self, queries: Sequence[int]) -> Iterator[list[int]]:
        """The queries in stretches that fit into a turn."""
        step = max(1, ELEMENTS // (len(self.heads) * self.context.entry.length))
        return (list(queries[start : start + step]) for start in range(0, len(queries), step))

    def compute(self, queries: Sequence[int]) -> Rows:
        """The rows of these queries, on the stretch of keys that they see."""
        data = self.context.data
        at = torch.tensor(queries, device=data.final.device)
        seen = data.find_seen(self.layer, at)
        parts = [self._strength(heads, at, seen) for heads in _stretches(self.heads)]
        weights, learned = (torch.cat(x) for x in zip(*parts, strict=True))
        rows = Rows(weights, torch.zeros_like(learned), learned, seen.start)
        return (rows.mean() if self.mean else rows).without(self.sinks)

    def _strength(self, heads: slice, queries: Tensor, seen: slice) -> tuple[Tensor, Tensor]:
        context, facts = self.context, self.context.data.facts[self.layer]
        pattern = context.data.pattern(self.layer, heads, queries, seen)
        learned = torch.zeros_like(pattern[..., 0])
        if self.strength is AttentionDivision.WEIGHTS:
            if facts is not None and facts.sinks is not None:
                learned = (1 - pattern.sum(-1)).clamp(0, 1)
            return pattern, learned
        size = context.model.dimensions
        v = context.data.site(Site.V, self.layer)
        own = v[torch.arange(size.n_heads, device=v.device)[heads] // (size.n_heads // v.shape[0]), seen]
        return measure_strength(self.strength, pattern, own, self._gram(heads)), learned

    def _gram(self, heads: slice) -> Tensor:
        """Of these heads; kept, since every turn needs it."""
        context = self.context
        key = ("head gram", self.layer, heads.start, heads.stop)
        found = context.store.get((key, context.model.resolved))
        if found is None:
            found = compute_gram(context.model, self.layer, heads)
            context.store.put((key, context.model.resolved), found, found.nbytes)
        made: Tensor = found
        return made


def _stretches(heads: Sequence[int]) -> Iterator[slice]:
    """The heads as slices, in their order."""
    start = 0
    for i in range(1, len(heads) + 1):
        if i == len(heads) or heads[i] != heads[i - 1] + 1:
            yield slice(heads[start], heads[i - 1] + 1)
            start = i


def read_hidden(
    context: ViewContext, handling: SinkHandling, shown: Selection
) -> Generator[Progress, None, list[Bool[Tensor, " T"]]]:
    """The keys of each layer that are hidden: its sinks, but for the positions that are shown all the same."""
    length, n_layers = context.entry.length, context.model.dimensions.n_layers
    nothing = torch.zeros(length, dtype=torch.bool)
    if handling is SinkHandling.SHOW or shown is None:
        return [nothing] * n_layers
    sinks = yield from read_sinks(context)
    found = []
    for positions in sinks:
        flags = nothing.clone()
        flags[torch.from_numpy(np.ascontiguousarray(positions))] = True
        if shown != ():
            flags[list(indices(shown, length, "shown_sinks"))] = False
        found.append(flags)
    return found


def require_strength(context: ViewContext, strength: AttentionDivision) -> None:
    """What the numbers rest on.

    Raises:
        ModelError: this model fails an identity that they rest on.
    """
    context.card.require(Capability.PATTERN)
    if strength is not AttentionDivision.WEIGHTS:
        context.card.require(Capability.HEADS)


def list_notes(context: ViewContext) -> tuple[str, ...]:
    """What the reader of any attention must know of the run."""
    wrote = any(getattr(e, "site", None) in (Site.Z, Site.ATTN_OUT) for e in context.entry.request.interventions)
    return (*context.entry.notes, *((EDITED,) if wrote else ()))


def compute_attention(context: ViewContext, view: AttentionView) -> Generator[Progress, None, Attention]:
    """A slice of the attention of all heads.

    Raises:
        RequestError: no such layer, head or position, or a slice of more than 64 MB.
        ModelError: this model fails an identity that the numbers rest on.
    """
    size, length = context.model.dimensions, context.entry.length
    layers = range(size.n_layers) if view.layer is None else (index(view.layer, size.n_layers, "layer"),)
    heads = read_head_numbers(view.head, size.n_heads)
    queries, keys = indices(view.queries, length, "queries"), indices(view.keys, length, "keys")
    mean = view.head == MEAN
    each = 1 if mean else len(heads)
    _check_size(len(layers), each, len(queries), len(keys))
    require_strength(context, view.strength)
    hidden_keys = yield from read_hidden(context, view.sinks, view.shown_sinks)
    n = len(layers) * each
    weights = np.empty((n, len(queries), len(keys)), np.float32)
    hidden, learned = np.empty((2, n, len(queries)), np.float32)
    chosen = None if view.keys is None else torch.tensor(keys, device=context.data.final.device)
    for number, layer in enumerate(layers):
        rows = HeadRows(context, layer, heads, mean, view.strength, hidden_keys[layer])
        at, done = slice(number * each, (number + 1) * each), 0
        for some in rows.steps(queries):
            found, where = _finish(rows.compute(some), view.sinks), slice(done, done + len(some))
            whole = found.whole(length)
            weights[at, where] = (whole if chosen is None else whole[..., chosen]).cpu().numpy()
            hidden[at, where], learned[at, where] = found.hidden.cpu().numpy(), found.learned.cpu().numpy()
            done += len(some)
            yield Progress(number * len(queries) + done, len(layers) * len(queries), "attention")
    return Attention(
        trace=context.entry.id,
        model=context.model.name,
        tokens=context.entry.tokens,
        heads=tuple((layer, head) for layer in layers for head in ((MEAN_HEAD,) if mean else heads)),
        queries=np.array(queries, np.int32),
        keys=np.array(keys, np.int32),
        weights=weights,
        hidden=hidden,
        learned=learned,
        strength=view.strength,
        sinks=view.sinks,
        notes=list_notes(context),
    )


def _finish(rows: Rows, sinks: SinkHandling) -> Rows:
    return rows.renormalised() if sinks is SinkHandling.RENORMALISE else rows


def read_head_numbers(head: int | tuple[int, ...] | str | None, n_heads: int) -> tuple[int, ...]:
    """The heads that are meant, counted from 0."""
    if head is None or isinstance(head, str):
        return tuple(range(n_heads))
    chosen = head if isinstance(head, tuple) else (head,)
    return tuple(dict.fromkeys(index(h, n_heads, "head") for h in chosen))


def _check_size(n_layers: int, n_heads: int, n_queries: int, n_keys: int) -> None:
    """Refuse what takes more than 64 MB, and say which slice takes less."""
    row = 4 * n_keys
    nbytes = row * n_queries * n_heads * n_layers
    if nbytes <= LARGEST_BYTES:
        return
    for what, each in (("one layer", n_heads * n_queries), ("one head of one layer", n_queries)):
        if row * each <= LARGEST_BYTES:
            todo = what
            break
    else:
        todo = f"one head of one layer with queries=iv.Span(0, {max(1, LARGEST_BYTES // row)})"
    raise RequestError(
        f"attention: expected at most 64 MB; got {n_layers} layers × {n_heads} heads × {n_queries} queries × {n_keys} "
        f"keys, {nbytes / 1e6:,.0f} MB. Ask for {todo}, for queries=[…] or keys=[…], or for trace.sparse_attention()"
    )


@dataclass(slots=True)
class _Entries:
    """Kept entries of rows, row by row."""

    counts: list[Array]
    keys: list[Array]
    weights: list[Array]
    rest: list[Array]
    hidden: list[Array]
    learned: list[Array]
    on_sinks: list[Array]

    def add(self, rows: Rows, on_sinks: Tensor, least: Tensor) -> None:
        """Take the rows of one head in. on_sinks: what of each goes to sinks; least: the smallest weight of each."""
        weights = rows.weights[0]
        kept = (weights.abs() >= least[:, None]) & (weights != 0)
        at = torch.nonzero(kept)
        chosen = weights[at[:, 0], at[:, 1]]
        n = len(weights)
        self.counts.append(torch.bincount(at[:, 0], minlength=n).cpu().numpy())
        self.keys.append((at[:, 1] + rows.start).int().cpu().numpy())
        self.weights.append(chosen.cpu().numpy())
        self.rest.append(weights.masked_fill(kept, 0).sum(-1).cpu().numpy())
        self.hidden.append(rows.hidden[0].cpu().numpy())
        self.learned.append(rows.learned[0].cpu().numpy())
        self.on_sinks.append(on_sinks.cpu().numpy())


def compute_sparse_attention(
    context: ViewContext, view: SparseAttentionView
) -> Generator[Progress, None, SparseAttention]:
    """All rows of one head, or of the mean of several, without what is small; a turn is some queries.

    Raises:
        RequestError: no such layer or head.
        ModelError: this model fails an identity that the numbers rest on.
    """
    size, length = context.model.dimensions, context.entry.length
    whole = view.layer == MEAN
    layers = tuple(range(size.n_layers)) if whole else (index(int(view.layer), size.n_layers, "layer"),)
    heads = read_head_numbers(view.head, size.n_heads)
    require_strength(context, view.strength)
    shown = view.sinks is SinkHandling.SHOW
    sinks = yield from read_hidden(context, SinkHandling.HIDE if view.mark_sinks else view.sinks, view.shown_sinks)
    nothing = torch.zeros(length, dtype=torch.bool)
    entries = _Entries([], [], [], [], [], [], [])
    each = [
        HeadRows(context, layer, heads, True, view.strength, nothing if shown else sinks[layer]) for layer in layers
    ]
    done = 0
    for some in each[0].steps(range(length)):
        rows = [rows.compute(some) for rows in each]
        found = mean_of_layers(rows, length)
        on_sinks = found.hidden[0]
        if shown:
            on_sinks = torch.stack([r.share_of(sinks[layer])[0] for r, layer in zip(rows, layers, strict=True)]).mean(0)
        renormalised = view.sinks is SinkHandling.RENORMALISE
        left = torch.ones_like(on_sinks) if renormalised else (1 - on_sinks).clamp(min=LEAST_LEFT)
        entries.add(_finish(found, view.sinks), on_sinks, view.least * left)
        done += len(some)
        yield Progress(done, length, "attention")
    starts = np.concatenate([[0], np.cumsum(np.concatenate(entries.counts))]).astype(np.int32)
    return SparseAttention(
        trace=context.entry.id,
        model=context.model.name,
        tokens=context.entry.tokens,
        layer=MEAN_LAYER if whole else layers[0],
        heads=heads,
        least=view.least,
        starts=starts,
        keys=np.concatenate(entries.keys),
        weights=np.concatenate(entries.weights),
        rest=np.concatenate(entries.rest),
        hidden=np.concatenate(entries.hidden),
        learned=np.concatenate(entries.learned),
        strength=view.strength,
        sinks=view.sinks,
        on_sinks=np.concatenate(entries.on_sinks) if view.mark_sinks else None,
        sink_keys=_list_keys(sinks[layers[0]]) if view.mark_sinks and shown and not whole else None,
        notes=list_notes(context),
    )


def _list_keys(flags: Bool[Tensor, " T"]) -> Array:
    return torch.nonzero(flags)[:, 0].int().numpy()
