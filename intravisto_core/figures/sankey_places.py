"""Where the nodes of a flow stand in a Sankey: at their row and near their position, none over another."""

from __future__ import annotations

import numpy as np

from intravisto_core.records import Flow
from intravisto_core.sites import NodeKind

# How far below its row a node stands, in rows.
_BELOW = {NodeKind.BLOCK: 0.0, NodeKind.MLP: 0.22, NodeKind.MID: 0.44, NodeKind.ATTENTION: 0.64}
_TERMINAL_BELOW = 0.8
_EDGE = 1e-3


def sankey_places(flow: Flow, pad: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the nodes in (0, 1): x by row, y by position. pad: least gap, as a part of the height."""
    below = np.full(len(flow.node_row), _TERMINAL_BELOW)
    for kind, distance in _BELOW.items():
        below[flow.node_kind == str(kind)] = distance
    level = flow.node_row - below
    low, high = (float(level.min()), float(level.max())) if len(level) else (0.0, 1.0)
    value = _values(flow)
    height = value * _unit(flow, level, value, pad)
    present = np.unique(flow.node_position[flow.node_position >= 0])
    place = np.where(flow.node_position < 0, len(present), np.searchsorted(present, flow.node_position))
    y = (place + 0.5) / (len(present) + 1)
    for column in np.unique(level):
        here = np.flatnonzero(level == column)
        y[here] = _apart(y[here], height[here], pad)
    return _EDGE + (1 - 2 * _EDGE) * (level - low) / max(high - low, 1e-9), y.clip(_EDGE, 1 - _EDGE)


def _values(flow: Flow) -> np.ndarray:
    """What Plotly takes for a node's size: the larger sum of its links above and below."""
    size, n = np.abs(flow.link_mass), len(flow.node_row)
    up, down = (np.bincount(ends, size, n) for ends in (flow.link_source, flow.link_target))
    return np.maximum(up, down)


def _unit(flow: Flow, level: np.ndarray, value: np.ndarray, pad: float) -> float:
    """How high mass 1 is drawn: Plotly fits the fullest of its own columns, which are depths in the graph, with all
    nodes that lead nowhere in the last one.
    """
    depth = np.zeros(len(level), int)
    order = np.argsort(level[flow.link_source], kind="stable")
    for source, target in zip(flow.link_source[order].tolist(), flow.link_target[order].tolist(), strict=True):
        depth[target] = max(depth[target], depth[source] + 1)
    leads = np.isin(np.arange(len(level)), flow.link_source)
    depth[~leads] = depth.max(initial=0)
    linked = value > 0
    if not linked.any():
        return 1.0
    counts, totals = np.bincount(depth[linked]), np.bincount(depth[linked], value[linked])
    gap = min(pad, 1 / max(1, counts.max() - 1))
    filled = totals > 0
    return float(((1 - (counts[filled] - 1) * gap) / totals[filled]).min())


def _apart(wanted: np.ndarray, height: np.ndarray, pad: float) -> np.ndarray:
    """Centres as near as may be to those wanted, so that no two overlap and all lie in (0, 1)."""
    order = np.argsort(wanted, kind="stable")
    y, half, edge = wanted.copy(), height / 2, 0.0
    for i in order:
        y[i] = max(y[i], edge + half[i])
        edge = y[i] + half[i] + pad
    edge = 1.0
    for i in order[::-1]:
        y[i] = min(y[i], edge - half[i])
        edge = y[i] - half[i] - pad
    return y
