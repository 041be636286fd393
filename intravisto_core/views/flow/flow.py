"""The flow of a trace, and what two ways to share it out disagree about (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, fields

import numpy as np

from intravisto_core.analysis.flow import Block, Masses, hand_down
from intravisto_core.analysis.flow_links import (
    LINK_KINDS,
    NODE_KINDS,
    Limits,
    Links,
    Places,
    collect_node_masses,
    count_nodes,
    find_links,
)
from intravisto_core.errors import RequestError, expected
from intravisto_core.progress import Progress, relay_turns
from intravisto_core.records import Flow
from intravisto_core.request import FlowView, Selection
from intravisto_core.request.flow import Position
from intravisto_core.request.ranges import indices
from intravisto_core.sites import AttentionDivision, BlockKind, NodeKind, Reading, ShareMeasure, SinkHandling
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.details import Details, Drawn, describe_drawn
from intravisto_core.views.flow.shares import (
    compute_blocks,
    is_long,
    read_start_positions,
    read_start_row,
    set_sinks_aside,
)
from intravisto_core.views.sinks import read_sinks

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Start:
    """Where mass enters: a row, and positions with equal mass."""

    row: int
    positions: tuple[int, ...]

    def mass(self, length: int) -> Array:
        """(1, T)."""
        out = np.zeros((1, length))
        out[0, list(self.positions)] = 1 / len(self.positions)
        return out


def read_start(context: ViewContext, row: int | None, position: Position) -> Start:
    """Where the mass of a view enters.

    Raises:
        RequestError: no such row or position.
    """
    return Start(read_start_row(context, row), read_start_positions(context, position))


def select_rows(context: ViewContext, rows: Selection, start: Start) -> tuple[int, ...]:
    """The rows that are drawn.

    Raises:
        RequestError: none of them lies at or below the start.
    """
    chosen = indices(rows, context.model.dimensions.n_layers + 2, "rows")
    if min(chosen) > start.row:
        raise RequestError(expected("rows", f"some at or below row {start.row}, where the mass enters", rows))
    return tuple(sorted(r for r in chosen if r <= start.row))


@dataclass(frozen=True, slots=True)
class FlowMasses:
    """One flow with what it was followed by. hidden: the share of attention that the attention sinks take."""

    blocks: list[Block]
    masses: Masses
    hidden: float


def compute_masses(
    context: ViewContext,
    start: Start,
    measure: ShareMeasure,
    attention: AttentionDivision,
    handling: SinkHandling,
) -> Generator[Progress, None, FlowMasses]:
    """Hand mass down through the whole trace."""
    whole = yield from compute_blocks(context, measure, attention)
    sinks = yield from read_sinks(context)
    blocks = set_sinks_aside(whole, sinks, handling)
    key = ("masses", measure, attention, handling, start)
    kept = context.find(key) if is_long(context) else None
    if kept is not None:
        masses = Masses(**kept)
    else:
        masses = yield from hand_down_mass(context, start.mass(context.entry.length), start.row, blocks)
        if is_long(context):
            context.keep(key, {f.name: getattr(masses, f.name) for f in fields(masses)})
    total = float(np.abs(masses.attention).sum())
    return FlowMasses(blocks, masses, float(masses.to_sinks.sum()) / total if total else 0.0)


def hand_down_mass(
    context: ViewContext, start: Array, row: int, blocks: list[Block]
) -> Generator[Progress, None, Masses]:
    """Masses of starts side by side; in a long text a turn is a row."""
    turns = hand_down(start, row, blocks, context.model.blueprint.parallel)
    return relay_turns(turns, lambda r: Progress(row - r + 1, row, "attention") if is_long(context) else None)


def compute_flow(context: ViewContext, view: FlowView) -> Generator[Progress, None, Flow]:
    """The record of a flow; turns are layers that were not kept, then a few dozen nodes to decode."""
    begin = read_start(context, view.row, view.position)
    rows = select_rows(context, view.rows, begin)
    flow = yield from compute_masses(context, begin, view.measure, view.attention, view.sinks)
    limits = Limits(frozenset(rows), view.top_k, view.min_weight, view.min_mass, view.max_nodes, view.max_links)
    places, links = yield from find_drawn_links(context, flow, begin, limits)
    keys = select_nodes(places, links, begin, rows)
    drawn = Drawn(
        *places.split(keys), np.searchsorted(keys, links.source), np.searchsorted(keys, links.target), links.kind
    )
    down = np.lexsort((drawn.position, drawn.kind, -drawn.row))
    drawn = _reordered(drawn, down)
    details = Details.none(drawn)
    if view.details:
        details = yield from describe_drawn(context, drawn, view.reading is Reading.ITERATIVE)
    return _Recorder(context, view, begin, rows).record(flow, places, keys[down], links, drawn, details)


def find_drawn_links(
    context: ViewContext, flow: FlowMasses, begin: Start, limits: Limits
) -> Generator[Progress, None, tuple[Places, Links]]:
    """The links that are drawn; in a long text a turn is a row."""
    search = find_links(flow.masses, begin.row, flow.blocks, context.model.blueprint.parallel, limits)
    return relay_turns(
        search, lambda row: Progress(begin.row - row + 1, begin.row, "links") if is_long(context) else None
    )


def select_nodes(places: Places, links: Links, begin: Start, rows: tuple[int, ...]) -> Array:
    """Numbers of all nodes that a drawn link touches, and of the start where its row is drawn, in order."""
    ends = [links.source, links.target]
    if begin.row in rows:
        ends.append(places.key(NodeKind.BLOCK, begin.row, np.array(begin.positions)))
    return np.unique(np.concatenate(ends))


def _reordered(drawn: Drawn, order: Array) -> Drawn:
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return Drawn(
        drawn.kind[order],
        drawn.row[order],
        drawn.position[order],
        back[drawn.source],
        back[drawn.target],
        drawn.link_kind,
    )


@dataclass(frozen=True, slots=True)
class _Recorder:
    context: ViewContext
    view: FlowView
    begin: Start
    rows: tuple[int, ...]

    def record(
        self, flow: FlowMasses, places: Places, keys: Array, links: Links, drawn: Drawn, details: Details
    ) -> Flow:
        context, view = self.context, self.view
        model, entry = context.model, context.entry
        parallel = model.blueprint.parallel
        kept = float(np.abs(links.mass).sum())
        shown = sorted({int(i) for i in np.unique(details.ids) if i >= 0})
        return Flow(
            trace=entry.id,
            model=model.name,
            n_layers=model.dimensions.n_layers,
            block=str(BlockKind.PARALLEL if parallel else BlockKind.SERIAL),
            prompt_length=entry.prompt_length,
            tokens=entry.tokens,
            row=self.begin.row,
            starts=np.array(self.begin.positions),
            measure=view.measure,
            attention=view.attention,
            reading=view.reading,
            sinks=view.sinks,
            rows=np.array(self.rows),
            node_kind=_names(NODE_KINDS)[drawn.kind],
            node_row=drawn.row,
            node_position=drawn.position,
            node_mass=collect_node_masses(flow.masses, places, keys),
            node_reading=details.reading,
            node_difference=details.difference,
            link_source=drawn.source,
            link_target=drawn.target,
            link_kind=_names(LINK_KINDS)[drawn.link_kind],
            link_share=links.share,
            link_mass=links.mass,
            link_kl=details.link_kl,
            link_difference=details.link_difference,
            reading_ids=details.ids,
            reading_numbers=details.numbers,
            reading_unit=details.unit,
            shown={i: model.reader.shown(i) for i in shown},
            n_nodes=count_nodes(flow.masses),
            n_links=links.n_all,
            drawn=kept / links.total if links.total else 1.0,
            drawn_in_rows=kept / links.inside if links.inside else 1.0,
            cut={name: lost / links.total if links.total else 0.0 for name, lost in links.cut.items()},
            hidden=flow.hidden,
            conservation=flow.masses.error(self.begin.row),
            sources=flow.masses.block[0, 0],
            lost=flow.masses.lost[:, 0].sum(0),
            notes=tuple(entry.notes),
        )


def _names(kinds: tuple[object, ...]) -> Array:
    return np.array([str(k) for k in kinds])
