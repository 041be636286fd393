"""What a flow says, from one product with the vocabulary for each node, a block of tokens at a time.

A state, what an update changes, and what changed since the row below are linear in the same product, and divergences
are sums over its logits: each block is read for all of them while it lies in the processor's cache, and then gone. For
a model in float32 without a soft-cap.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.decoding import find_top_tokens
from intravisto_core.analysis.lenses import compute_logit_blocks, compute_mean_logits, compute_output_constant
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.sites import Component
from intravisto_core.views.context import Arrays, ViewContext
from intravisto_core.views.flow.readings import LISTED, UPDATES, Node, collect_vectors, keep_nodes

# logits of a block, which with their exponentials stay in the processor's cache
BLOCK_ELEMENTS = 1 << 20
LEAST_WIDTH = 256
LINKS_AT_ONCE = 512
BLOCKS_A_TURN = 8
# what all logits of a node share at most: above it, their rounding is no longer small beside 1e-5 nats
LARGEST = 100.0

Array = np.ndarray


def reads_in_blocks(model: LoadedModel) -> bool:
    """Whether all that is said of a node follows from its logits as they are."""
    return model.dtype == torch.float32 and not model.blueprint.soft_cap


@dataclass(slots=True)
class _Tops:
    """The highest of each row over the blocks that were read, in the order of the tokens."""

    values: list[Tensor] = field(default_factory=list)
    ids: list[Tensor] = field(default_factory=list)

    def read(self, z: Float[Tensor, "n w"], start: int) -> Float[Tensor, " n"]:
        """Take in a block; returns the highest of each row in it."""
        values, ids = find_top_tokens(z, LISTED)
        self.values.append(values)
        self.ids.append(ids + start)
        return values[:, 0]

    def found(self) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
        """Values and ids, the highest first."""
        values, ids = torch.cat(self.values, 1), torch.cat(self.ids, 1)
        best = values.topk(min(LISTED, values.shape[1]), -1)
        return best.values, ids.gather(1, best.indices)


class _Divergences:
    """Log-sum-exp of n nodes, and KL(upper ‖ lower) in nats of pairs of them.

    Exponentials are taken less the highest logit so far, and what was summed before is scaled when a higher one comes.
    Logits of a pair are subtracted before they are multiplied.
    """

    def __init__(self, n: int, width: int, upper: Int[Tensor, " m"], lower: Int[Tensor, " m"]) -> None:
        device = upper.device
        self.pairs = list(zip(upper.split(LINKS_AT_ONCE), lower.split(LINKS_AT_ONCE), strict=True))
        self.upper, self.lower = upper, lower
        self.peak = torch.full((n,), -torch.inf, dtype=torch.float32, device=device)
        self.whole = torch.zeros(n, dtype=torch.float64, device=device)
        self.apart = torch.zeros(len(upper), dtype=torch.float64, device=device)
        self.rooms = torch.empty(n * width + 3 * LINKS_AT_ONCE * width, dtype=torch.float32, device=device).split(
            [n * width, *[LINKS_AT_ONCE * width] * 3]
        )

    def read(self, z: Float[Tensor, "n w"], highest: Float[Tensor, " n"]) -> None:
        peak = torch.maximum(self.peak, highest)
        scale = (self.peak - peak).double().exp()
        self.peak = peak
        self.whole *= scale
        self.apart *= scale[self.upper]
        p, *rooms = (room[: rows * z.shape[1]].view(rows, -1) for room, rows in self._rooms(len(z)))
        torch.sub(z, peak[:, None], out=p).exp_()
        self.whole += p.sum(-1)
        for apart, (up, low) in zip(self.apart.split(LINKS_AT_ONCE), self.pairs, strict=True):
            weight, here, there = (room[: len(up)] for room in rooms)
            torch.index_select(p, 0, up, out=weight)
            torch.index_select(z, 0, up, out=here)
            torch.index_select(z, 0, low, out=there)
            apart += here.sub_(there).mul_(weight).sum(-1)

    def _rooms(self, n: int) -> list[tuple[Tensor, int]]:
        return list(zip(self.rooms, (n, *[LINKS_AT_ONCE] * 3), strict=True))

    def found(self) -> tuple[Float[Tensor, " n"], Float[Array, " m"]]:
        """Log-sum-exp of the nodes, and the divergences of the pairs; both float64."""
        log_sum = self.peak.double() + self.whole.log()
        out = self.apart / self.whole[self.upper] + log_sum[self.lower] - log_sum[self.upper]
        return log_sum, out.clamp(min=0).cpu().numpy()


class _Changes:
    """Tokens that nodes raise most at the stream's scale: what attentions and MLPs change, and what changed in the
    stream since the row below, where both rows are read.

    sigma, stream: (n,) the scale of each node's own norm, and that of the stream beside it. constant: (V,) the part of
    the logits that does not depend on the node, or None.
    """

    def __init__(self, nodes: Sequence[Node], scales: tuple[Tensor, Tensor], constant: Tensor | None, top: int) -> None:
        self.sigma, self.stream = scales
        self.constant, device = constant, self.sigma.device
        updates = [i for i, node in enumerate(nodes) if node.component in UPDATES]
        where = {node: i for i, node in enumerate(nodes)}
        rows = [n for n in nodes if n.component is Component.BLOCK and 1 <= n.row < top]
        rows = [n for n in rows if n._replace(row=n.row - 1) in where]
        self.updated, self.differing = [nodes[i] for i in updates], rows
        below = [where[n._replace(row=n.row - 1)] for n in rows]
        self.updates, self.upper, self.lower = (
            torch.tensor(at, dtype=torch.long, device=device) for at in (updates, [where[n] for n in rows], below)
        )
        self.less = (self.sigma[self.lower] / self.stream[self.upper]).neg_()[:, None]
        self.raised, self.apart = _Tops(), _Tops()

    def read(self, z: Float[Tensor, "n w"], start: int) -> None:
        constant = None if self.constant is None else self.constant[start : start + z.shape[1]]
        if len(self.upper):
            above, below = z[self.upper], z[self.lower]
            if constant is not None:
                above, below = above.sub_(constant), below.sub_(constant)
            self.apart.read(above.addcmul_(below, self.less), start)
        if constant is not None and len(self.updates):
            self.raised.read(z[self.updates].sub_(constant), start)

    def found(self, tops: tuple[Tensor, Tensor]) -> dict[str, tuple[list[Node], Arrays]]:
        """Nodes and their tokens by the name of the reading. tops: those of the logits themselves."""
        found = {}
        if self.updated:
            values, ids = (t[self.updates] for t in tops) if self.constant is None else self.raised.found()
            # a scale above 0 leaves the order of the tokens
            scale = (self.sigma / self.stream)[self.updates]
            found["update"] = (self.updated, _arrays(ids, values * scale[:, None]))
        if self.differing:
            values, ids = self.apart.found()
            found["difference"] = (self.differing, _arrays(ids, values))
        return found


def decode_in_blocks(
    context: ViewContext, nodes: Sequence[Node], upper: Array, lower: Array
) -> Generator[Progress, None, Array | None]:
    """KL(upper ‖ lower) of pairs of nodes, by their places; what the nodes say goes into the store on the way.

    None where the logits share so much that their rounding would show.
    """
    model, at = context.model, collect_vectors(context, nodes)
    x_hat = torch.where(at.as_it_is[:, None], at.x, model.final_state(at.x))
    if float(compute_mean_logits(model, x_hat).abs().max()) > LARGEST:
        return None
    width = max(LEAST_WIDTH, BLOCK_ELEMENTS // len(nodes))
    up, low = (torch.from_numpy(side).to(x_hat.device) for side in (upper, lower))
    scales = (model.norm.sigma(at.x)[:, 0], model.norm.sigma(at.stream)[:, 0])
    tops, divergences = _Tops(), _Divergences(len(nodes), width, up, low)
    changes = _Changes(nodes, scales, compute_output_constant(model), model.dimensions.n_layers + 1)
    for number, (start, z) in enumerate(compute_logit_blocks(model, x_hat, width)):
        divergences.read(z, tops.read(z, start))
        changes.read(z, start)
        if number % BLOCKS_A_TURN == BLOCKS_A_TURN - 1:
            yield Progress(start + z.shape[1], model.dimensions.d_vocab, "decoding")
    log_sum, found = divergences.found()
    best = tops.found()
    keep_nodes(context, "top", nodes, _arrays(best[1], (best[0] - log_sum[:, None]).exp().float()))
    for name, (said, arrays) in changes.found(best).items():
        keep_nodes(context, name, said, arrays)
    yield Progress(1, 1, "decoding")
    return found


def _arrays(ids: Tensor, numbers: Tensor) -> Arrays:
    return {"ids": ids.int().cpu().numpy(), "numbers": numbers.cpu().numpy()}
