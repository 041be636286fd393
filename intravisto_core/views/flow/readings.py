"""What the nodes of a flow decode to; each is decoded once and kept, a row of a component at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.decoding import compute_sums, count_tile_positions, find_top_tokens
from intravisto_core.analysis.lenses import compute_logits
from intravisto_core.analysis.profiles import compute_profiles
from intravisto_core.analysis.readings import freeze_norm, subtract_tokens
from intravisto_core.lenses import Projection, normalise
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.request.views import default_norm
from intravisto_core.sites import Component, Lens, Reading, Site
from intravisto_core.views.context import Arrays, ViewContext

LISTED = 5
TURN_VECTORS = 64

_SITES = {Component.MID: Site.RESID_MID, Component.ATTENTION: Site.ATTN_OUT, Component.MLP: Site.MLP_OUT}
UPDATES = (Component.ATTENTION, Component.MLP)


class Node(NamedTuple):
    """A node whose vector can be decoded: a component of a heatmap row at a position."""

    component: Component
    row: int
    position: int


Groups = dict[tuple[Component, int], list[int]]
Rows = dict[tuple[Component, int], Arrays]


class Vectors(NamedTuple):
    """Vectors of nodes (n, d), the stream beside each, and which are the final-normed state already; float32."""

    x: Tensor
    stream: Tensor
    as_it_is: Tensor


def stack_streams_at(context: ViewContext, row: int, positions: list[int]) -> Tensor:
    """The stream at a heatmap row 0 … L, float32."""
    site, layer = (Site.RESID_POST, row - 1) if row else (Site.RESID_PRE, 0)
    return context.data.site(site, layer)[positions].float()


def collect_vectors(context: ViewContext, nodes: Sequence[Node], difference: bool = False) -> Vectors:
    """What the nodes decode; difference: less the stream of the row below."""
    top = context.model.dimensions.n_layers + 1
    device = context.data.final.device
    x = torch.empty((len(nodes), context.model.dimensions.d_model), dtype=torch.float32, device=device)
    stream = torch.empty_like(x)
    for (component, row), at in _by_row(nodes).items():
        positions = [nodes[i].position for i in at]
        beside = stack_streams_at(context, min(row, top - 1), positions)
        if component is Component.BLOCK:
            own = context.model.final_state(context.data.final[positions]) if row == top else beside
        else:
            own = context.data.site(_SITES[component], row - 1)[positions].float()
        x[at] = own - stack_streams_at(context, row - 1, positions) if difference else own
        stream[at] = beside
    return Vectors(x, stream, torch.tensor([n.row == top for n in nodes], device=device))


def _by_row(nodes: Sequence[Node]) -> Groups:
    groups: Groups = {}
    for i, node in enumerate(nodes):
        groups.setdefault((node.component, node.row), []).append(i)
    return groups


def _logits(model: LoadedModel, x_hat: Tensor, update: bool) -> Tensor:
    ones = torch.ones(len(x_hat), dtype=torch.float32, device=x_hat.device)
    return compute_logits(model, Projection(x_hat, ones, bias=not update, capped=not update))


def decode_states(context: ViewContext, nodes: Sequence[Node]) -> Arrays:
    """What divergences need of nodes under the output lens with the final norm: x̂ and profiles."""
    model, at = context.model, collect_vectors(context, nodes)
    x_hat = torch.where(at.as_it_is[:, None], at.x, model.final_state(at.x))
    profile = compute_profiles(model, x_hat, _logits(model, x_hat, update=False))
    return {
        "x_hat": x_hat.cpu().numpy(),
        "log_sum": profile.log_sum.cpu().numpy(),
        "mean": profile.mean.cpu().numpy(),
    }


def decode_tops(context: ViewContext, nodes: Sequence[Node]) -> Arrays:
    """Top tokens of nodes under the output lens with the final norm, whatever the node, and their probabilities."""
    model, at = context.model, collect_vectors(context, nodes)
    z = _logits(model, torch.where(at.as_it_is[:, None], at.x, model.final_state(at.x)), update=False)
    top, ids = find_top_tokens(z, LISTED)
    log_sum = compute_sums(z, top[:, 0]).log_sum
    return {"ids": ids.int().cpu().numpy(), "numbers": (top - log_sum[:, None]).exp().float().cpu().numpy()}


def decode_updates(context: ViewContext, nodes: Sequence[Node]) -> Arrays:
    """Tokens whose logit an update raises most, at the stream's scale."""
    return _changes(context.model, collect_vectors(context, nodes))


def decode_differences(context: ViewContext, nodes: Sequence[Node]) -> Arrays:
    """Tokens whose logit rose most since the row below, at the stream's scale."""
    return _changes(context.model, collect_vectors(context, nodes, difference=True))


def _changes(model: LoadedModel, at: Vectors) -> Arrays:
    z = _logits(model, model.norm.linear(at.x, model.norm.sigma(at.stream)), update=True)
    top, ids = find_top_tokens(z, LISTED)
    return {"ids": ids.int().cpu().numpy(), "numbers": top.cpu().numpy()}


def decode_iterative(context: ViewContext, nodes: Sequence[Node]) -> Arrays:
    """The iterative reading of nodes of one sort: all updates, or none."""
    model, at = context.model, collect_vectors(context, nodes)
    policy = default_norm(nodes[0].component, Lens.OUTPUT, Reading.ITERATIVE)
    x_hat = normalise(model, at.x, at.stream, policy, at.as_it_is)
    update = nodes[0].component in UPDATES
    ones = torch.ones(len(nodes), dtype=torch.float32, device=x_hat.device)
    like = Projection(x_hat, ones, bias=not update, capped=not update)
    norm = freeze_norm(model, at.x, at.stream, policy, at.as_it_is)
    taken = subtract_tokens(model, at.x, norm, like, policy, at.as_it_is)
    return {"ids": taken.ids.int().cpu().numpy(), "numbers": taken.coefficients.float().cpu().numpy()}


Decode = Callable[[ViewContext, Sequence[Node]], Arrays]


def decode_nodes(
    context: ViewContext, name: str, decode: Decode, nodes: Sequence[Node]
) -> Generator[Progress, None, Arrays]:
    """Arrays over the nodes in their order, kept under `name`; a turn is a few dozen nodes that were not kept."""
    groups = _by_row(nodes)
    rows: Rows = {place: context.find(("node", name, *place)) or {} for place in groups}
    missing = sorted(
        {
            nodes[i]
            for place, at in groups.items()
            for i in at
            if nodes[i].position not in rows[place].get("positions", ())
        },
        key=lambda n: (n.component in UPDATES, n.component, n.row, n.position),
    )
    step = min(TURN_VECTORS, count_tile_positions(1, context.model.dimensions.d_vocab))
    fresh: list[tuple[list[Node], Arrays]] = []
    while missing:
        sort = missing[0].component in UPDATES
        batch = [n for n in missing[:step] if (n.component in UPDATES) == sort]
        missing = missing[len(batch) :]
        fresh.append((batch, decode(context, batch)))
        yield Progress(len(nodes) - len(missing), len(nodes), "decoding")
    for batch, arrays in fresh:
        rows |= keep_nodes(context, name, batch, arrays)
    return _in_order(nodes, groups, rows)


def is_kept(context: ViewContext, name: str, node: Node) -> bool:
    """Whether a node was decoded under that name."""
    kept = context.find(("node", name, node.component, node.row)) or {}
    return node.position in kept.get("positions", ())


def keep_nodes(context: ViewContext, name: str, nodes: Sequence[Node], arrays: Arrays) -> Rows:
    """Put what was decoded of nodes into the store, beside what is there of their rows; returns those rows."""
    rows: Rows = {}
    for place, at in _by_row(nodes).items():
        kept = context.find(("node", name, *place)) or {}
        fresh = [i for i in at if nodes[i].position not in kept.get("positions", ())]
        if fresh:
            kept = _merged(kept, [nodes[i].position for i in fresh], {n: a[fresh] for n, a in arrays.items()})
            context.keep(("node", name, *place), kept)
        rows[place] = kept
    return rows


def _merged(kept: Arrays, positions: list[int], arrays: Arrays) -> Arrays:
    added = {"positions": np.array(positions), **arrays}
    return {n: np.concatenate([kept[n], a]) if kept else a for n, a in added.items()}


def _in_order(nodes: Sequence[Node], groups: Groups, rows: Rows) -> Arrays:
    out: Arrays = {}
    for place, at in groups.items():
        kept = rows[place]
        where = {int(p): i for i, p in enumerate(kept["positions"])}
        pick = [where[nodes[i].position] for i in at]
        for name, values in kept.items():
            if name not in out:
                out[name] = np.empty((len(nodes), *values.shape[1:]), values.dtype)
            out[name][at] = values[pick]
    return out
