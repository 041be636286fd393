"""What a flow says, from one product with the vocabulary for each node: all their logits are held at once.

A state, what an update changes, and what changed since the row below are linear in the same product, and divergences
are sums over logits that are there. For a model in float32 without a soft-cap, where the logits fit into HELD_BYTES.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.decoding import find_top_tokens
from intravisto_core.analysis.lenses import compute_logits
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.sites import Component
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.flow.readings import LISTED, UPDATES, Node, collect_vectors, find_tops, keep_nodes

HELD_BYTES = 1 << 28
BATCH = 64
COLUMNS = 512
# what all logits of a node share at most: above it, their rounding is no longer small beside 1e-5 nats
LARGEST = 100.0

Array = np.ndarray


def can_hold(context: ViewContext, n_nodes: int) -> bool:
    """Whether the logits of so many nodes may be held, and all that is said follows from them."""
    model = context.model
    small = 4 * n_nodes * model.dimensions.d_vocab <= HELD_BYTES
    return small and model.dtype == torch.float32 and not model.blueprint.soft_cap


@dataclass(slots=True)
class _Held:
    """Logits of nodes (n, V), and what they are scaled by: sigma of their own norm, stream that of the stream beside.

    peak: (n,) the highest of each node's logits, mean: (n,) their mean.
    shift: (V,) the part of the logits that does not depend on the node, or None.
    """

    nodes: Sequence[Node]
    z: Float[Tensor, "n V"]
    sigma: Float[Tensor, " n"]
    stream: Float[Tensor, " n"]
    peak: Float[Tensor, " n"]
    mean: Float[Tensor, " n"]
    shift: Float[Tensor, " V"] | None

    def linear(self, at: list[int]) -> Float[Tensor, "m V"]:
        """Logits without the constant part."""
        z = self.z[at]
        return z if self.shift is None else z - self.shift

    def updates(self) -> tuple[list[Node], Arrays]:
        """What attentions and MLPs change, at the stream's scale."""
        at = [i for i, node in enumerate(self.nodes) if node.component in UPDATES]
        return [self.nodes[i] for i in at], self._changes([(i, None) for i in at])

    def differences(self, n_layers: int) -> tuple[list[Node], Arrays]:
        """What changed in the stream since the row below, where both rows are held."""
        where = {node: i for i, node in enumerate(self.nodes)}
        blocks = [n for n in self.nodes if n.component is Component.BLOCK and 1 <= n.row <= n_layers]
        pairs = [(where[n], where.get(n._replace(row=n.row - 1))) for n in blocks]
        known = [(node, pair) for node, pair in zip(blocks, pairs, strict=True) if pair[1] is not None]
        return [node for node, _ in known], self._changes([pair for _, pair in known])

    def _changes(self, pairs: Sequence[tuple[int, int | None]]) -> Arrays:
        ids, numbers = np.zeros((len(pairs), LISTED), np.int32), np.zeros((len(pairs), LISTED), np.float32)
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            upper = [i for i, _ in part]
            change = self.linear(upper) * (self.sigma[upper] / self.stream[upper])[:, None]
            lower = [j for _, j in part if j is not None]
            if lower:
                change -= self.linear(lower) * (self.sigma[lower] / self.stream[upper])[:, None]
            top, found = find_top_tokens(change, LISTED)
            ids[start : start + BATCH] = found.cpu().numpy()
            numbers[start : start + BATCH] = top.cpu().numpy()
        return {"ids": ids, "numbers": numbers}

    def divergences(
        self, upper: Int[Array, " m"], lower: Int[Array, " m"]
    ) -> tuple[Float[Tensor, " n"], Float[Array, " m"]]:
        """Log-sum-exp of each node's logits, and KL(upper ‖ lower) in nats of pairs of nodes."""
        up, low = (torch.from_numpy(side).to(self.z.device) for side in (upper, lower))
        whole = torch.zeros(len(self.z), dtype=torch.float64, device=self.z.device)
        apart = torch.zeros(len(up), dtype=torch.float64, device=self.z.device)
        # blocks of columns that stay in the processor's cache
        for z in self.z.split(COLUMNS, 1):
            p = (z - self.peak[:, None]).exp_()
            whole += p.sum(-1)
            apart += torch.linalg.vecdot(p[up], z[up] - z[low])
        log_sum = self.peak.double() + whole.log()
        out = apart / whole[up] + log_sum[low] - log_sum[up]
        return log_sum, out.clamp(min=0).cpu().numpy()


def decode_held(
    context: ViewContext, nodes: Sequence[Node], upper: Array, lower: Array
) -> Generator[Progress, None, Array | None]:
    """KL(upper ‖ lower) of pairs of nodes, by their places; what the nodes say goes into the store on the way.

    None where the logits share so much that their rounding would show.
    """
    model = context.model
    z = torch.empty((len(nodes), model.dimensions.d_vocab), dtype=torch.float32, device=context.data.final.device)
    sigma, stream, peak, mean = (z.new_empty(len(nodes)) for _ in range(4))
    held = _Held(nodes, z, sigma, stream, peak, mean, _constant_part(model))
    for start in range(0, len(nodes), BATCH):
        rows = slice(start, start + BATCH)
        at = collect_vectors(context, nodes[rows])
        part = _logits(model, torch.where(at.as_it_is[:, None], at.x, model.final_state(at.x)), z[rows].view(-1))
        if part.data_ptr() != z[rows].data_ptr():
            z[rows] = part  # a logit scale was applied, which takes memory of its own
        # while they are in the processor's cache
        held.peak[rows], held.mean[rows] = part.amax(-1), part.mean(-1)
        held.sigma[rows], held.stream[rows] = model.norm.sigma(at.x)[:, 0], model.norm.sigma(at.stream)[:, 0]
        yield Progress(min(start + BATCH, len(nodes)), len(nodes), "decoding")
    if float(held.mean.abs().max()) > LARGEST:
        return None
    log_sum, found = held.divergences(upper, lower)
    yield Progress(len(nodes), len(nodes), "divergences")
    keep_nodes(context, "top", nodes, find_tops(z, log_sum))
    for name, (said, arrays) in (
        ("update", held.updates()),
        ("difference", held.differences(model.dimensions.n_layers)),
    ):
        keep_nodes(context, name, said, arrays)
        yield Progress(len(nodes), len(nodes), "decoding")
    return found


def _logits(model: LoadedModel, x_hat: Tensor, room: Tensor | None = None) -> Tensor:
    ones = torch.ones(len(x_hat), dtype=torch.float32, device=x_hat.device)
    return compute_logits(model, Projection(x_hat, ones), room)


def _constant_part(model: LoadedModel) -> Tensor | None:
    """Logits of the final norm's β and the unembedding's bias; None where there is neither."""
    if model.norm.shift is None and model.weights.bias("unembed") is None:
        return None
    beta = model.norm.shift if model.norm.shift is not None else torch.zeros(model.dimensions.d_model)
    return _logits(model, beta[None].to(torch.float32))[0]
