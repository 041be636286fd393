"""Where two ways to share out one flow disagree (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from intravisto_core.analysis.flow_links import LINK_KINDS, NODE_KINDS, Limits, Links, Places
from intravisto_core.models.free_memory import require_free
from intravisto_core.progress import Progress
from intravisto_core.records import Disagreement
from intravisto_core.records.flow import node_ids
from intravisto_core.request import DisagreementView
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.flow import compute_masses, find_drawn_links, read_start, select_rows

Array = np.ndarray

# of one link of the two ways, as measured
LINK_BYTES = 72


def compute_disagreement(context: ViewContext, view: DisagreementView) -> Generator[Progress, None, Disagreement]:
    """Links whose places by size differ most; a turn is a layer that was not kept."""
    begin = read_start(context, view.row, view.position)
    rows = select_rows(context, view.rows, begin)
    ways = ((view.measure, view.attention), (view.other_measure, view.other_attention or view.attention))
    flows, sides = [], []
    _require_room(context, view, rows)
    for measure, attention in ways:
        flow = yield from compute_masses(context, begin, measure, attention, view.sinks)
        places, links = yield from find_drawn_links(
            context, flow, begin, Limits(frozenset(rows), min_mass=view.min_mass)
        )
        flows.append(flow)
        sides.append(links)
    pairs = [places.pairs(links.source, links.target) for links in sides]
    wanted = np.unique(np.concatenate(pairs))
    for side, (flow, own) in enumerate(zip(flows, pairs, strict=True)):
        rest = Limits(frozenset(rows), min_mass=np.inf, wanted=np.setdiff1d(wanted, own, assume_unique=True))
        _, links = yield from find_drawn_links(context, flow, begin, rest)
        sides[side].extend(links)
    keys, kind, masses = _joined(places, wanted, sides)
    order, first, second, distance = _by_distance(masses)
    order = order[: view.n]
    names = np.array([str(k) for k in LINK_KINDS])
    return Disagreement(
        model=context.model.name,
        trace=context.entry.id,
        n_layers=context.model.dimensions.n_layers,
        row=begin.row,
        starts=np.array(begin.positions),
        tokens=context.entry.tokens,
        measures=(ways[0][0], ways[1][0]),
        divisions=(ways[0][1], ways[1][1]),
        source=_ids(places, keys[0][order]),
        target=_ids(places, keys[1][order]),
        kind=names[kind[order]],
        first_mass=masses[0][order],
        second_mass=masses[1][order],
        first_place=first[order],
        second_place=second[order],
        distance=distance[order],
        agreement=_spearman(first, second),
        n_links=len(distance),
        sinks=view.sinks,
        notes=tuple(context.entry.notes),
    )


def _require_room(context: ViewContext, view: DisagreementView, rows: tuple[int, ...]) -> None:
    """Refuse what would not fit: a query has no more links of a mass than fit into 1, unless shares have signs."""
    length = context.entry.length
    most = min(length**2, 8 * length + (2 / view.min_mass if view.min_mass else length**2))
    remedy = "Draw fewer rows, ask for a larger min_mass, or trace a shorter text"
    require_free(int(LINK_BYTES * len(rows) * most), torch.device("cpu"), "all links of two flows", remedy)


def _joined(places: Places, wanted: Array, sides: list[Links]) -> tuple[tuple[Array, Array], Array, list[Array]]:
    """Links that either way draws: (source, target), kind, and their mass in each way, 0 where it has none."""
    kind, masses = np.zeros(len(wanted), np.int8), []
    for links in sides:
        at = np.searchsorted(wanted, places.pairs(links.source, links.target))
        mass = np.zeros(len(wanted))
        mass[at], kind[at] = links.mass, links.kind
        masses.append(mass)
    return np.divmod(wanted, places.n_keys), kind, masses


def _by_distance(masses: list[Array]) -> tuple[Array, Array, Array, Array]:
    """The order of largest distance first (the larger mass first at a tie), both places, and the distance."""
    first, second = (_places(m) for m in masses)
    distance = np.abs(np.log2(first / second))
    return np.lexsort((-np.abs(masses).max(0), -distance)), first, second, distance


def _places(mass: Array) -> Array:
    """The place of each by |mass|, 1 the largest; equal ones in the order of the links."""
    out = np.empty(len(mass), np.int64)
    out[np.argsort(-np.abs(mass), kind="stable")] = np.arange(1, len(mass) + 1)
    return out


def _spearman(first: Array, second: Array) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if len(first) > 1 else float("nan")


def _ids(places: Places, keys: Array) -> Array:
    kind, row, position = places.split(keys)
    return np.array(node_ids([NODE_KINDS[k] for k in kind], row, position), dtype=str)
