"""The heads of one attention node, and the contribution-threshold graph (docs/methods.md §5, §6)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from intravisto_core.analysis.division import by_head
from intravisto_core.analysis.joint import Joint, joint_shares
from intravisto_core.engine.base import Progress
from intravisto_core.engine.context import Arrays, ViewContext
from intravisto_core.engine.flow_parts import attention_of, has_sinks, need_division
from intravisto_core.engine.flow_views import drawn_rows, start
from intravisto_core.engine.select import index
from intravisto_core.engine.views import share_table
from intravisto_core.errors import RequestError, expected
from intravisto_core.records import ContributionGraph, HeadShares
from intravisto_core.request import GraphView, HeadSharesView
from intravisto_core.sites import AttentionDivision, BlockKind, ShareMeasure, Site

TURN_ELEMENTS = 1 << 27

Place = tuple[int, int]


def draw_head_shares(context: ViewContext, view: HeadSharesView) -> Generator[Progress, None, HeadShares]:
    """How one cell's attention divides over heads and sources.

    Raises:
        RequestError: no such row or position.
        ModelError: the model fails an identity that this rests on.
    """
    n_layers = context.model.dimensions.n_layers
    if not 1 <= view.row <= n_layers:
        raise RequestError(expected("row", f"1 to {n_layers}, the output of a block", view.row))
    layer, position = view.row - 1, index(view.position, context.entry.length, "position")
    query = slice(position, position + 1)
    need_division(context, AttentionDivision.PROJECTION if view.joint else view.attention)
    if view.joint:
        found = _joint(context, layer, query, heads=True)
        parts, bias, edit = found.parts[:, 0], found.bias, found.edit
        sink, residual = np.zeros(len(parts), np.float32), float(found.residual)
        mlp = float(found.mlp) if context.model.blueprint.parallel else float("nan")
    else:
        pattern, what, edited = attention_of(context, layer, view.attention, query)
        division = by_head(view.attention, pattern, what, has_sinks(context, layer), edited)
        parts, bias, edit = division.parts[:, 0], division.bias, division.edit
        sink, residual, mlp = division.sink[:, 0].float().cpu().numpy(), float("nan"), float("nan")
    yield Progress(1, 1)
    return HeadShares(
        trace=context.entry.id,
        n_layers=n_layers,
        row=view.row,
        position=position,
        tokens=context.entry.tokens,
        attention=None if view.joint else view.attention,
        shares=parts.float().cpu().numpy(),
        sink=sink,
        bias=float(bias),
        intervention=float(edit),
        residual=residual,
        mlp=mlp,
    )


def _joint(context: ViewContext, layer: int, queries: slice, heads: bool = False) -> Joint:
    _, what, _ = attention_of(context, layer, None, queries)
    assert what is not None
    residual, mlp = (context.data.site(s, layer)[queries].float() for s in (Site.RESID_PRE, Site.MLP_OUT))
    return joint_shares(what, queries, residual, mlp if context.model.blueprint.parallel else None, heads)


def joint_table(context: ViewContext, layer: int) -> Generator[Progress, None, Arrays]:
    """Joint shares of a layer, (T, T) and (T,) each, kept; a turn is some queries."""
    kept: Arrays | None = context.look(("joint", layer))
    if kept is not None:
        return kept
    size, length = context.model.dimensions, context.entry.length
    step = max(1, TURN_ELEMENTS // (size.n_heads * length * size.d_model))
    pieces = []
    for first in range(0, length, step):
        found = _joint(context, layer, slice(first, min(first + step, length)))
        pieces.append([x.float().cpu().numpy() for x in (found.parts, found.residual, found.mlp)])
        yield Progress(layer + 1, size.n_layers, "contributions")
    parts, residual, mlp = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    return context.keep(("joint", layer), {"parts": parts, "residual": residual, "mlp": mlp})


def draw_graph(context: ViewContext, view: GraphView) -> Generator[Progress, None, ContributionGraph]:
    """Edges above the threshold, from the start down; a turn is a layer that was not kept."""
    n_layers, entry = context.model.dimensions.n_layers, context.entry
    need_division(context, AttentionDivision.PROJECTION)
    begin = start(context, view.row, view.position)
    begin, parallel = replace(begin, row=min(begin.row, n_layers)), context.model.blueprint.parallel
    rows = drawn_rows(context, view.rows, begin)
    tables = []
    for layer in range(n_layers):
        tables.append((yield from joint_table(context, layer)))
    mlp = np.full((n_layers + 1, entry.length), np.nan, np.float32)
    if parallel:
        mlp[1:] = np.stack([t["mlp"] for t in tables])
    else:
        mlp[1:] = (yield from share_table(context, ShareMeasure.L1))["mlp"]
    graph = _Search(tables, mlp, view.threshold, parallel)
    graph.go(begin.row, begin.positions)
    keys, source, target, kind, share = graph.drawn(set(rows))
    node_row, node_position = keys[:, 0], keys[:, 1]
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
        n_edges=graph.count(set(rows)),
        notes=tuple(entry.notes),
    )


def _ends(edges: list[tuple[Place, Place, str, float]]) -> tuple[list[Place], list[Place]]:
    return [e[0] for e in edges], [e[1] for e in edges]


class _Search:
    """Walks down from the start over edges that are large enough."""

    def __init__(self, tables: list[Arrays], mlp: np.ndarray, threshold: float, parallel: bool) -> None:
        self.tables, self.mlp, self.threshold, self.parallel = tables, mlp, threshold, parallel
        self.nodes: list[Place] = []
        self.edges: list[tuple[Place, Place, str, float]] = []

    def over(self, row: int) -> list[tuple[str, np.ndarray]]:
        """Shares of the edges into a row by kind, (T target, T source), 0 where too small."""
        table = self.tables[row - 1]
        shares = [("attention", table["parts"]), ("residual", np.diag(table["residual"]))]
        if self.parallel:
            shares.append(("mlp", np.diag(table["mlp"])))
        return [(kind, np.where(np.nan_to_num(s) >= max(self.threshold, 1e-12), s, 0.0)) for kind, s in shares]

    def go(self, row: int, positions: tuple[int, ...]) -> None:
        """Follow edges from the start to row 0."""
        active = np.zeros(self.mlp.shape[1], bool)
        active[list(positions)] = True
        self.nodes = [(row, p) for p in positions]
        for r in range(row, 0, -1):
            below = np.zeros_like(active)
            for kind, shares in self.over(r):
                for i, j in np.argwhere(np.where(active[:, None], shares, 0.0)).tolist():
                    self.edges.append(((r - 1, j), (r, i), kind, float(shares[i, j])))
                    below[j] = True
            self.nodes += [(r - 1, p) for p in np.flatnonzero(below).tolist()]
            active = below

    def drawn(self, rows: set[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Nodes (row, position) and edges within the rows, the largest share first."""
        nodes = [n for n in self.nodes if n[0] in rows]
        at = {n: i for i, n in enumerate(nodes)}
        edges = sorted((e for e in self.edges if e[0] in at and e[1] in at), key=lambda e: -e[3])
        keys = np.array(nodes, dtype=np.int32).reshape(-1, 2)
        source, target = (np.array([at[p] for p in side], dtype=np.int32) for side in _ends(edges))
        kind = np.array([e[2] for e in edges], dtype="<U9")
        return keys, source, target, kind, np.array([e[3] for e in edges])

    def count(self, rows: set[int]) -> int:
        """Edges above the threshold within the rows, reached or not."""
        inside = [r for r in rows if r - 1 in rows]
        return sum(int(np.count_nonzero(s)) for r in inside for _, s in self.over(r))
