"""The contribution-threshold graph (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch

from intravisto_core.analysis.flow import SMALLEST
from intravisto_core.progress import Progress
from intravisto_core.records import ContributionGraph
from intravisto_core.request import GraphView
from intravisto_core.sites import AttentionDivision, BlockKind, Component, ShareMeasure, SinkHandling
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.flow.flow import read_start, select_rows
from intravisto_core.views.flow.heads import compute_joint
from intravisto_core.views.flow.readings import Node, decode_nodes, decode_tops
from intravisto_core.views.flow.shares import is_long, require_division
from intravisto_core.views.shares import compute_share_table
from intravisto_core.views.sinks import read_sinks

TURN_ELEMENTS = 1 << 27
# the sources of a query that are kept in a long text: all of at least 1/64, as shares sum to 1
KEPT_SOURCES = 64
LEAST = 1e-12

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class _Edges:
    """Edges of one kind into a row, in the order of their targets. source, target: positions. share: float32."""

    kind: str
    row: int
    source: Array
    target: Array
    share: Array


def compute_graph(context: ViewContext, view: GraphView) -> Generator[Progress, None, ContributionGraph]:
    """Edges above the threshold, from the start down; a turn is some queries of a layer that were not kept."""
    n_layers, entry = context.model.dimensions.n_layers, context.entry
    require_division(context, AttentionDivision.PROJECTION)
    begin = read_start(context, view.row, view.position)
    begin, parallel = replace(begin, row=min(begin.row, n_layers)), context.model.blueprint.parallel
    rows = select_rows(context, view.rows, begin)
    mlp = np.full((n_layers + 1, entry.length), np.nan, np.float32)
    if not parallel:
        mlp[1:] = (yield from compute_share_table(context, ShareMeasure.L1))["mlp"]
    sinks = yield from read_sinks(context)
    search = _Search(context, max(view.threshold, LEAST), mlp, sinks, view.sinks)
    yield from search.go(begin.row, np.array(sorted(set(begin.positions))))
    nodes, source, target, kind, share = search.drawn(rows)
    node_row, node_position = nodes.T
    token, probability = yield from _read_nodes(context, nodes, view.details)
    return ContributionGraph(
        trace=entry.id,
        model=context.model.name,
        n_layers=n_layers,
        block=str(BlockKind.PARALLEL if parallel else BlockKind.SERIAL),
        prompt_length=entry.prompt_length,
        tokens=entry.tokens,
        row=begin.row,
        starts=np.array(begin.positions),
        threshold=view.threshold,
        rows=np.array(rows),
        node_row=node_row,
        node_position=node_position,
        node_mlp=mlp[node_row, node_position],
        node_mlp_over=mlp[node_row, node_position] >= view.threshold,
        edge_source=source,
        edge_target=target,
        edge_kind=kind,
        edge_share=share,
        node_token=token,
        node_probability=probability,
        shown={i: context.model.reader.shown(i) for i in np.unique(token[token >= 0]).tolist()},
        n_edges=sum(len(e.share) for e in search.edges),
        sinks=view.sinks,
        notes=tuple(entry.notes),
    )


def _read_nodes(context: ViewContext, nodes: Array, details: bool) -> Generator[Progress, None, tuple[Array, Array]]:
    """The top token of each state and its probability. nodes: (N, 2) row and position."""
    if not details or not len(nodes):
        return np.full(len(nodes), -1, np.int32), np.full(len(nodes), np.nan, np.float32)
    states = [Node(Component.BLOCK, row, position) for row, position in nodes.tolist()]
    found = yield from decode_nodes(context, "top", decode_tops, states)
    return found["ids"][:, 0], found["numbers"][:, 0]


class _Search:
    """Walks down from the start over edges that are large enough, and computes nothing else.

    mlp: (L+1, T) by heatmap row; in a parallel block filled in where the search comes. sinks: of each layer.
    """

    def __init__(
        self, context: ViewContext, threshold: float, mlp: Array, sinks: list[Array], handling: SinkHandling
    ) -> None:
        self.context, self.threshold, self.mlp = context, threshold, mlp
        self.sinks, self.handling = sinks, handling
        self.parallel = context.model.blueprint.parallel
        self.nodes: list[tuple[int, Array]] = []
        self.edges: list[_Edges] = []

    def go(self, row: int, positions: Array) -> Generator[Progress, None, None]:
        """Follow edges from the start to row 0."""
        self.nodes = [(row, positions)]
        for r in range(row, 0, -1):
            found = yield from self._into(r, positions)
            self.edges += found
            if not any(len(e.source) for e in found):
                break
            positions = np.unique(np.concatenate([e.source for e in found]))
            self.nodes.append((r - 1, positions))

    def _into(self, row: int, positions: Array) -> Generator[Progress, None, list[_Edges]]:
        """The edges into some nodes of a row."""
        aside = self.sinks[row - 1], self.handling
        found, columns = yield from find_edges_into(self.context, row - 1, positions, self.threshold, *aside)
        edges = [_Edges("attention", row, found["source"], found["target"], found["share"])]
        for kind in ("residual", "mlp") if self.parallel else ("residual",):
            over = np.nan_to_num(columns[kind]) >= self.threshold
            edges.append(_Edges(kind, row, positions[over], positions[over], columns[kind][over]))
        if self.parallel:
            self.mlp[row, positions] = columns["mlp"]
        return edges

    def drawn(self, rows: tuple[int, ...]) -> tuple[Array, Array, Array, Array, Array]:
        """Nodes (row, position) and edges within the rows, the largest share first."""
        nodes = [np.stack([np.full_like(at, row), at], 1) for row, at in self.nodes if row in rows]
        first = np.cumsum([0, *(len(n) for n in nodes)])
        begins = {int(n[0, 0]): (int(f), n[:, 1]) for f, n in zip(first, nodes, strict=False) if len(n)}
        inside = [e for e in self.edges if {e.row, e.row - 1} <= begins.keys()]

        def index(row: int, positions: Array) -> Array:
            begin, at = begins[row]
            return begin + np.searchsorted(at, positions)

        empty = np.zeros(0, np.int64)
        source = np.concatenate([empty, *(index(e.row - 1, e.source) for e in inside)])
        target = np.concatenate([empty, *(index(e.row, e.target) for e in inside)])
        kind = np.concatenate([np.zeros(0, "<U9"), *(np.full(len(e.share), e.kind, "<U9") for e in inside)])
        share = np.concatenate([np.zeros(0), *(e.share for e in inside)])
        order = np.argsort(-share, kind="stable")
        keys = np.concatenate([np.zeros((0, 2), np.int64), *nodes]).astype(np.int32)
        return keys, source[order].astype(np.int32), target[order].astype(np.int32), kind[order], share[order]


def find_edges_into(
    context: ViewContext, layer: int, queries: Array, least: float, sinks: Array, handling: SinkHandling
) -> Generator[Progress, None, tuple[Arrays, Arrays]]:
    """Joint shares of some queries, in increasing order.

    The first: source, target, share: (E,) of the sources whose share is at least `least`, by target. The second:
    residual, mlp: (n,). sinks, handling: the layer's attention sinks, and what becomes of them. Every query that was
    asked for is kept: all its sources, in a long text the largest.
    """
    kept: Arrays | None = context.find(("joint", layer))
    known = np.zeros(len(queries), bool)
    tables, rows = [], []
    if kept is not None:
        at = np.searchsorted(kept["query"], queries).clip(max=len(kept["query"]) - 1)
        known = (kept["query"][at] == queries) & (kept["rest"][at] < least * _left(kept["sinks"][at], handling))
        rows.append({name: a[at[known]] for name, a in kept.items()})
    size, fresh = context.model.dimensions, queries[~known]
    step = max(8, TURN_ELEMENTS // (size.n_heads * context.entry.length * size.d_model))
    for first in range(0, len(fresh), step):
        whole = _by_size(context, layer, fresh[first : first + step], sinks)
        rows.append(whole)
        tables.append(_narrow(whole, KEPT_SOURCES if is_long(context) else context.entry.length))
        yield Progress(layer + 1, size.n_layers, "contributions")
    if tables:
        others = [] if kept is None else [{n: a[~np.isin(kept["query"], fresh)] for n, a in kept.items()}]
        context.keep(("joint", layer), _in_order([*others, *tables], "query"))
    columns = _in_order([_columns(t, handling) for t in rows], "query")
    return _in_order([_large(t, least, sinks, handling) for t in rows], "target", "source"), columns


def _left(sinks: Array, handling: SinkHandling) -> Array:
    """What shares are divided by where attention sinks take that much. Where nothing would be left, by 1."""
    if handling is not SinkHandling.RENORMALISE:
        return np.ones_like(sinks)
    return np.where(1 - sinks > SMALLEST, 1 - sinks, 1.0)


def _columns(table: Arrays, handling: SinkHandling) -> Arrays:
    left = _left(table["sinks"], handling)
    return {"query": table["query"], "residual": table["residual"] / left, "mlp": table["mlp"] / left}


def _by_size(context: ViewContext, layer: int, queries: Array, sinks: Array) -> Arrays:
    """All shares of some queries. source, share: (n, T), the largest share first. rest: (n,) what is left out.
    sinks: (n,) what the layer's attention sinks take.
    """
    found = compute_joint(context, layer, torch.from_numpy(queries))
    parts = found.parts.nan_to_num()
    share, source = parts.sort(dim=1, descending=True)
    named = {"source": source.int(), "share": share, "residual": found.residual, "mlp": found.mlp}
    named["sinks"] = parts[:, torch.from_numpy(sinks)].sum(1)
    return {"query": queries, "rest": np.zeros(len(queries)), **{n: x.cpu().numpy() for n, x in named.items()}}


def _narrow(table: Arrays, width: int) -> Arrays:
    """The largest shares alone. rest: the largest of the others."""
    if width >= table["share"].shape[1]:
        return table
    cut = {n: table[n][:, :width].copy() for n in ("source", "share")}
    return table | cut | {"rest": table["share"][:, width].astype(np.float64)}


def _large(table: Arrays, least: float, sinks: Array, handling: SinkHandling) -> Arrays:
    """The edges of at least that share, one after the other."""
    shares = table["share"] / _left(table["sinks"], handling)[:, None]
    large = shares >= least
    if handling is not SinkHandling.SHOW:
        large &= ~np.isin(table["source"], sinks)
    at, column = np.nonzero(large)
    source, share = table["source"][at, column].astype(np.int64), shares[at, column]
    return {"source": source, "target": table["query"][at], "share": share}


def _in_order(tables: list[Arrays], *names: str) -> Arrays:
    """Tables of the same columns below each other, sorted by those."""
    whole = {n: np.concatenate([t[n] for t in tables]) for n in tables[0]}
    order = np.lexsort([whole[n] for n in reversed(names)])
    return {n: a[order] for n, a in whole.items()}
