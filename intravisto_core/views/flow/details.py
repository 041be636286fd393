"""What the drawn nodes and links of a flow say: tokens, decoded differences, divergences (docs/methods.md §6)."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from intravisto_core.analysis.decoding import count_tile_positions
from intravisto_core.analysis.flow_links import LINK_KINDS, NODE_KINDS
from intravisto_core.analysis.profiles import Profiles, compute_logit_divergences, compute_profile_divergences
from intravisto_core.progress import Progress
from intravisto_core.sites import Component, LinkKind, NodeKind
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow.blockwise import decode_in_blocks, reads_in_blocks
from intravisto_core.views.flow.readings import (
    LISTED,
    UPDATES,
    Decode,
    Node,
    decode_differences,
    decode_iterative,
    decode_nodes,
    decode_states,
    decode_tops,
    decode_updates,
    is_kept,
)

Array = np.ndarray
Turns = Generator[Progress, None, None]

_COMPONENTS = {
    NodeKind.BLOCK: Component.BLOCK,
    NodeKind.MID: Component.MID,
    NodeKind.ATTENTION: Component.ATTENTION,
    NodeKind.MLP: Component.MLP,
}
_KINDS: dict[str, tuple[Decode, str]] = {
    "top": (decode_tops, "probability"),
    "update": (decode_updates, "change"),
    "difference": (decode_differences, "change"),
    "iterative": (decode_iterative, "coefficient"),
}
PAIRS_AT_ONCE = 512


@dataclass(slots=True)
class Drawn:
    """Drawn nodes (kind as index in `NODE_KINDS`, row, position) and links between them (indices of nodes)."""

    kind: Array
    row: Array
    position: Array
    source: Array
    target: Array
    link_kind: Array


@dataclass(slots=True)
class Details:
    """The arrays of Flow of the same names, without `node_` and `link_`."""

    reading: Array
    difference: Array
    link_kl: Array
    link_difference: Array
    ids: Array = field(default_factory=lambda: np.zeros((0, LISTED), np.int32))
    numbers: Array = field(default_factory=lambda: np.zeros((0, LISTED), np.float32))
    unit: Array = field(default_factory=lambda: np.zeros(0, "<U11"))

    @classmethod
    def none(cls, drawn: Drawn) -> Details:
        """For a flow that is drawn without details."""
        n, m = len(drawn.kind), len(drawn.source)
        blank = np.full(n, -1, np.int32)
        return cls(blank, blank.copy(), np.full(m, np.nan, np.float32), np.full(m, -1, np.int32))


class _Readings:
    """The table of readings, each asked for once; `at` gives its place."""

    def __init__(self) -> None:
        self.asked: dict[tuple[str, Node], int] = {}

    def at(self, name: str, node: Node) -> int:
        return self.asked.setdefault((name, node), len(self.asked))

    def list_unread(self, context: ViewContext) -> set[Node]:
        """Nodes whose logits say what is asked for and was not kept."""
        wanted = {asked for asked in self.asked if asked[0] != "iterative" and not is_kept(context, *asked)}
        below = {node._replace(row=node.row - 1) for name, node in wanted if name == "difference"}
        return below | {node for _, node in wanted}

    def fill(self, context: ViewContext, details: Details) -> Turns:
        n = len(self.asked)
        details.ids = np.full((n, LISTED), -1, np.int32)
        details.numbers = np.full((n, LISTED), np.nan, np.float32)
        details.unit = np.full(n, "", "<U11")
        for name, (decode, unit) in _KINDS.items():
            nodes = [(node, place) for (kind, node), place in self.asked.items() if kind == name]
            if nodes:
                found = yield from decode_nodes(context, name, decode, [node for node, _ in nodes])
                places = [place for _, place in nodes]
                details.ids[places] = found["ids"]
                details.numbers[places] = found["numbers"]
                details.unit[places] = unit


def describe_drawn(context: ViewContext, drawn: Drawn, iterative: bool) -> Generator[Progress, None, Details]:
    """Tokens, differences and divergences of what is drawn; a turn is a few dozen vectors."""
    details, readings = Details.none(drawn), _Readings()
    nodes = list(_nodes(drawn))
    parallel = context.model.blueprint.parallel
    for i, node in enumerate(nodes):
        if node is not None:
            name = "iterative" if iterative else "update" if node.component in UPDATES else "top"
            details.reading[i] = readings.at(name, node)
            if (change := _change(node, context.model.dimensions.n_layers)) is not None:
                details.difference[i] = readings.at(*change)
    for link in np.flatnonzero(drawn.link_kind == LINK_KINDS.index(LinkKind.RESIDUAL)):
        lower, upper = nodes[drawn.source[link]], nodes[drawn.target[link]]
        if lower is not None and upper is not None:
            details.link_difference[link] = readings.at(*_add_between(upper, parallel))
    # the divergences first: what they need of the nodes most often says all the rest
    yield from _divergences(context, drawn, nodes, details, readings)
    yield from readings.fill(context, details)
    return details


def _nodes(drawn: Drawn) -> Iterable[Node | None]:
    for kind, row, position in zip(drawn.kind.tolist(), drawn.row.tolist(), drawn.position.tolist(), strict=True):
        component = _COMPONENTS.get(NODE_KINDS[kind])
        yield None if component is None else Node(component, row, position)


def _change(node: Node, n_layers: int) -> tuple[str, Node] | None:
    """What changed at a node since the row below."""
    if node.component is Component.MID:
        return "update", node._replace(component=Component.ATTENTION)
    if node.component is Component.BLOCK and 1 <= node.row <= n_layers:
        return "difference", node
    return None


def _add_between(upper: Node, parallel: bool) -> tuple[str, Node]:
    """What was added between a state of the stream and the one below."""
    if parallel:
        return "difference", upper
    wrote = Component.ATTENTION if upper.component is Component.MID else Component.MLP
    return "update", upper._replace(component=wrote)


def _divergences(
    context: ViewContext, drawn: Drawn, nodes: list[Node | None], details: Details, readings: _Readings
) -> Turns:
    """KL(upper ‖ lower) of all links that have no terminal; each pair is computed once and kept. readings: what else
    is asked for, which is read on the way where it can be.
    """
    real = np.array([n is not None for n in nodes])
    if not len(drawn.source) or not real.any():
        return
    links = np.flatnonzero(real[drawn.source])
    index = np.cumsum(real) - 1
    upper, lower = index[drawn.target[links]], index[drawn.source[links]]
    own = [n for n in nodes if n is not None]
    row = (drawn.kind * (context.entry.length + 1) + drawn.position) * (context.model.dimensions.n_layers + 2)
    names = (row + drawn.row)[real]
    pairs = np.stack([names[upper], names[lower]], 1)
    kept = context.find("divergences") or {"pairs": np.zeros((0, 2), np.int64), "kl": np.zeros(0, np.float32)}
    known = dict(zip(map(tuple, kept["pairs"].tolist()), kept["kl"].tolist(), strict=True))
    kl = np.array([known.get(pair, np.nan) for pair in map(tuple, pairs.tolist())], np.float32)
    missing = np.flatnonzero(np.isnan(kl))
    if len(missing):
        kl[missing] = yield from _compute_pairs(context, own, upper[missing], lower[missing], readings)
        found = {"pairs": pairs[missing], "kl": kl[missing]}
        context.keep("divergences", {name: np.concatenate([kept[name], found[name]]) for name in kept})
    details.link_kl[links] = kl


def _compute_pairs(
    context: ViewContext, nodes: list[Node], upper: Array, lower: Array, readings: _Readings
) -> Generator[Progress, None, Array]:
    """KL(upper ‖ lower) of pairs of nodes, float32."""
    used, back = np.unique(np.concatenate([upper, lower]), return_inverse=True)
    needed, (up, low) = [nodes[i] for i in used], np.split(back, 2)
    if reads_in_blocks(context.model):
        others = sorted(readings.list_unread(context).difference(needed))
        said = yield from decode_in_blocks(context, [*needed, *others], up, low)
        if said is not None:
            return said.astype(np.float32)
    found = yield from decode_nodes(context, "state", decode_states, needed)
    if context.model.blueprint.soft_cap:
        return (yield from _capped(context, found["x_hat"], up, low))
    x_hat, mean, log_sum = (torch.from_numpy(found[n]) for n in ("x_hat", "mean", "log_sum"))
    out = np.zeros(len(up), np.float32)
    for start in range(0, len(up), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        u, v = torch.from_numpy(up[part]), torch.from_numpy(low[part])
        profile = Profiles(log_sum[u], mean[u])
        kl = compute_profile_divergences(context.model, (profile, x_hat[u]), (log_sum[v], x_hat[v]))
        out[part] = kl.numpy()
    return out


def _capped(context: ViewContext, x_hat: Array, upper: Array, lower: Array) -> Generator[Progress, None, Array]:
    """The same from the logits, for a model with a soft-cap: links of one target together."""
    kl, order = np.zeros(len(upper), np.float32), np.argsort(upper, kind="stable")
    step = max(2, min(256, count_tile_positions(1, context.model.dimensions.d_vocab)))
    device = context.data.final.device
    for part in np.array_split(order, -(-2 * len(order) // step)):
        wanted = np.unique(np.concatenate([upper[part], lower[part]]))
        up, low = (torch.from_numpy(np.searchsorted(wanted, side[part])).to(device) for side in (upper, lower))
        x = torch.from_numpy(x_hat[wanted]).to(device)
        kl[part] = compute_logit_divergences(context.model, x, up, low).float().cpu().numpy()
        yield Progress(len(part), len(order), "divergences")
    return kl
