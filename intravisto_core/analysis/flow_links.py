"""The links of a flow, and which of them are drawn (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from intravisto_core.analysis.flow import TERMINALS, Block, Masses, fill_undefined, fill_undefined_sources
from intravisto_core.sites import LinkKind, NodeKind

Array = np.ndarray

NODE_KINDS = tuple(NodeKind)
LINK_KINDS = tuple(LinkKind)
_COLUMNS = ("source", "target", "kind", "share", "mass")
CUTS = ("rows", "attention", "mass", "count")


@dataclass(frozen=True, slots=True)
class Limits:
    """What is drawn: see FlowView. rows: heatmap rows. wanted: links that are taken in however small, as
    `Places.pairs` numbers them, in order.
    """

    rows: frozenset[int]
    top_k: int | None = None
    min_weight: float = 0.0
    min_mass: float = 0.0
    max_nodes: int | None = None
    max_links: int | None = None
    wanted: Array | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Nodes as whole numbers: kind, row and position in one; position −1 is a terminal's."""

    n_rows: int
    length: int

    def key(self, kind: NodeKind, row: int, position: Array | int) -> Array:
        """The number of a node, or of a row of nodes."""
        return (NODE_KINDS.index(kind) * self.n_rows + row) * (self.length + 1) + np.asarray(position) + 1

    def split(self, keys: Array) -> tuple[Array, Array, Array]:
        """Kind (index in `NODE_KINDS`), row and position."""
        rest, position = np.divmod(keys, self.length + 1)
        kind, row = np.divmod(rest, self.n_rows)
        return kind, row, position - 1

    def pairs(self, source: Array, target: Array) -> Array:
        """Links as whole numbers."""
        return source * self.n_keys + target

    @property
    def n_keys(self) -> int:
        """One more than the largest number of a node."""
        return len(NODE_KINDS) * self.n_rows * (self.length + 1)


@dataclass(slots=True)
class Links:
    """Links as arrays, and what limits took of Σ|all|. kind: index in `LINK_KINDS`."""

    source: Array
    target: Array
    kind: Array
    share: Array
    mass: Array
    n_all: int
    total: float
    inside: float
    cut: dict[str, float] = field(default_factory=dict)

    def pick(self, which: Array) -> None:
        """Keep only those, in that order."""
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name)[which])

    def extend(self, more: Links) -> None:
        """Take in further links of the same flow."""
        for name in _COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))


class _Collector:
    def __init__(self, places: Places, masses: Masses, limits: Limits) -> None:
        self.places, self.masses, self.limits = places, masses, limits
        self.parts: list[tuple[Array, ...]] = []
        self.n_all, self.total, self.inside = 0, 0.0, 0.0
        self.cut = dict.fromkeys(CUTS, 0.0)
        self.every = np.arange(places.length)
        wanted = np.zeros(0, np.int64) if limits.wanted is None else limits.wanted
        self.wanted_source, self.wanted_target = np.divmod(wanted, places.n_keys)

    def add(
        self,
        kind: LinkKind,
        source: Array,
        target: Array,
        share: Array,
        mass: Array,
        rows: tuple[int, ...],
        shown: Array | None = None,
    ) -> None:
        """Take links in, all of whose arrays have one shape; shown: which of them the attention limits leave."""
        size = np.abs(mass)
        total = float(size.sum())
        self.n_all += int(np.count_nonzero(size))
        self.total += total
        if not self.limits.rows.issuperset(rows):
            self.cut["rows"] += total
            return
        self.inside += total
        if shown is not None:
            size = np.where(shown, size, 0.0)
            self.cut["attention"] += total - float(size.sum())
            total = float(size.sum())
        large = size >= self.limits.min_mass
        if self.limits.wanted is not None:
            large |= self._wanted(source, target, self.limits.wanted)
        large &= size > 0
        self.cut["mass"] += total - float(size[large].sum())
        arrays = (np.broadcast_to(a, size.shape)[large] for a in (source, target, share, mass))
        source, target, share, mass = arrays
        code = np.full(len(mass), LINK_KINDS.index(kind), np.int8)
        self.parts.append((source, target, code, share, mass))

    def _wanted(self, source: Array, target: Array, wanted: Array) -> Array:
        """Which links are wanted; keys of targets increase, and those of sources along the last axis."""
        shape = np.broadcast_shapes(source.shape, target.shape)
        out = np.zeros(shape, bool)
        if len(shape) == 1:
            out[:] = np.isin(self.places.pairs(source, target), wanted)
            return out
        sources, targets = source[0], target[:, 0]
        here = np.isin(self.wanted_target, targets) & np.isin(self.wanted_source, sources)
        at = np.searchsorted(targets, self.wanted_target[here]), np.searchsorted(sources, self.wanted_source[here])
        out[at] = True
        return out

    def column(self, kind: LinkKind, below: tuple[NodeKind, int], above: tuple[NodeKind, int], share: Array) -> None:
        """Links between two nodes of the same position, one a position."""
        mass = self.of(*above) * share
        source, target = (self.places.key(*node, self.every) for node in (below, above))
        self.add(kind, source, target, share, mass, (below[1], above[1]))

    def terminal(
        self,
        kind: LinkKind,
        end: NodeKind,
        above: tuple[NodeKind, int],
        share: Array | None,
        positions: Array | None = None,
    ) -> None:
        """Links from a row's terminal to the nodes that hand to it; positions: of those nodes, all without."""
        if share is not None and share.any():
            share, at = np.nan_to_num(share), self.every if positions is None else positions
            target = self.places.key(*above, at)
            source = np.broadcast_to(self.places.key(end, above[1], -1), target.shape)
            self.add(kind, source, target, share, self.of(*above)[at] * share, (above[1],))

    def of(self, kind: NodeKind, row: int) -> Array:
        """The masses of a row of nodes."""
        values: Array = getattr(self.masses, str(kind))[row, 0]
        return values

    def links(self) -> Links:
        """All that were taken in."""
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0), np.zeros(0))
        source, target, kind, share, mass = (np.concatenate(a) for a in zip(empty, *self.parts, strict=True))
        return Links(source, target, kind, share, mass, self.n_all, self.total, self.inside, self.cut)


def find_links(
    masses: Masses, row: int, blocks: Sequence[Block], parallel: bool, limits: Limits
) -> Generator[int, None, tuple[Places, Links]]:
    """All links that the limits leave, the largest |mass| first; yields each row once it is done.

    masses: of one start.
    """
    places = Places(len(masses.block), masses.block.shape[-1])
    found = _Collector(places, masses, limits)
    block = NodeKind.BLOCK
    if row == places.n_rows - 1:
        found.column(LinkKind.NORM, (block, row - 1), (block, row), np.ones(places.length))
        row -= 1
    for r in range(row, 0, -1):
        (_parallel_links if parallel else _serial_links)(found, r, blocks[r - 1])
        _source_links(found, r, blocks[r - 1])
        yield r
    links = found.links()
    _cap(masses, places, links, limits)
    return places, links


def _serial_links(found: _Collector, r: int, step: Block) -> None:
    j, block, mid = step.junctions, (NodeKind.BLOCK, r), (NodeKind.MID, r)
    mlp, residual, nothing = fill_undefined(j.mlp, j.residual_mlp)
    found.column(LinkKind.MLP, (NodeKind.MLP, r), block, mlp)
    found.column(LinkKind.RESIDUAL, mid, block, residual)
    found.terminal(LinkKind.RESIDUAL, NodeKind.UNDEFINED, block, nothing)
    found.terminal(LinkKind.RESIDUAL, NodeKind.INTERVENTION, block, j.intervention_mlp)
    found.column(LinkKind.MLP, mid, (NodeKind.MLP, r), step.through_mlp)
    found.terminal(LinkKind.MLP, NodeKind.INTERVENTION, (NodeKind.MLP, r), step.mlp_edit)
    attention, residual, nothing = fill_undefined(j.attention, j.residual_attention)
    found.column(LinkKind.ATTENTION, (NodeKind.ATTENTION, r), mid, attention)
    found.column(LinkKind.RESIDUAL, (NodeKind.BLOCK, r - 1), mid, residual)
    found.terminal(LinkKind.RESIDUAL, NodeKind.UNDEFINED, mid, nothing)
    found.terminal(LinkKind.RESIDUAL, NodeKind.INTERVENTION, mid, j.intervention_attention)


def _parallel_links(found: _Collector, r: int, step: Block) -> None:
    j, block, below = step.junctions, (NodeKind.BLOCK, r), (NodeKind.BLOCK, r - 1)
    mlp, attention, residual, nothing = fill_undefined(j.mlp, j.attention, j.residual_attention)
    found.column(LinkKind.MLP, (NodeKind.MLP, r), block, mlp)
    found.column(LinkKind.ATTENTION, (NodeKind.ATTENTION, r), block, attention)
    found.column(LinkKind.RESIDUAL, below, block, residual)
    found.terminal(LinkKind.RESIDUAL, NodeKind.UNDEFINED, block, nothing)
    found.terminal(LinkKind.RESIDUAL, NodeKind.INTERVENTION, block, j.intervention_mlp)
    found.column(LinkKind.MLP, below, (NodeKind.MLP, r), step.through_mlp)
    found.terminal(LinkKind.MLP, NodeKind.INTERVENTION, (NodeKind.MLP, r), step.mlp_edit)


def _source_links(found: _Collector, r: int, step: Block) -> None:
    """From every source position that a query reads, and from the terminals of attention."""
    mass = found.of(NodeKind.ATTENTION, r)
    source = found.places.key(NodeKind.BLOCK, r - 1, found.every)[None, :]
    own = {NodeKind.SINK: LinkKind.SINK, NodeKind.BIAS: LinkKind.BIAS}
    for queries, rows in step.sources.stretches(_asked(found, mass, r)):
        share, ends = fill_undefined_sources(rows)
        target = found.places.key(NodeKind.ATTENTION, r, queries)[:, None]
        shown = _shown(share, found.limits)
        found.add(LinkKind.ATTENTION, source, target, share, mass[queries, None] * share, (r - 1, r), shown)
        for end, given in zip(TERMINALS, ends, strict=True):
            found.terminal(own.get(end, LinkKind.ATTENTION), end, (NodeKind.ATTENTION, r), given, queries)


def _asked(found: _Collector, mass: Array, r: int) -> Array:
    """The queries whose links count: all with mass, or where none but wanted links are asked for, those with some."""
    queries = np.flatnonzero(mass)
    if found.limits.wanted is None:
        return queries
    return queries[np.isin(found.places.key(NodeKind.ATTENTION, r, queries), found.wanted_target)]


def _shown(share: Array, limits: Limits) -> Array | None:
    """Which sources of each query the attention limits leave; None is all."""
    if limits.top_k is None and not limits.min_weight:
        return None
    size = np.abs(share)
    shown: Array = size >= limits.min_weight
    if limits.top_k is not None:
        k = min(limits.top_k, share.shape[1])
        best = np.zeros_like(shown)
        if k:
            np.put_along_axis(best, np.argpartition(-size, k - 1, axis=1)[:, :k], True, axis=1)
        shown = shown & best
    return shown


def collect_node_masses(masses: Masses, places: Places, keys: Array) -> Array:
    """The mass of each node, by its number."""
    kind, row, position = places.split(keys)
    out = np.zeros(len(keys))
    for code in np.unique(kind):
        of, name = kind == code, NODE_KINDS[code]
        if name.terminal:
            out[of] = masses.lost[row[of], 0, TERMINALS.index(name)]
        else:
            out[of] = getattr(masses, str(name))[row[of], 0, position[of]]
    return out


def count_nodes(masses: Masses) -> int:
    """How many nodes have mass."""
    return sum(int(np.count_nonzero(getattr(masses, n))) for n in ("block", "mid", "mlp", "attention", "lost"))


def _cap(masses: Masses, places: Places, links: Links, limits: Limits) -> None:
    """The largest nodes, then the largest links between them; the largest first."""
    before = np.abs(links.mass).sum()
    if limits.max_nodes is not None:
        keys = np.unique(np.concatenate([links.source, links.target]))
        if len(keys) > limits.max_nodes:
            size = np.abs(collect_node_masses(masses, places, keys))
            kept = np.sort(keys[np.argsort(-size, kind="stable")[: limits.max_nodes]])
            links.pick(np.isin(links.source, kept) & np.isin(links.target, kept))
    order = np.argsort(-np.abs(links.mass), kind="stable")
    links.pick(order if limits.max_links is None else order[: limits.max_links])
    links.cut["count"] += float(before - np.abs(links.mass).sum())
