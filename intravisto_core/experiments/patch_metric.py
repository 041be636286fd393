"""What is measured of a run in a patching grid, and how small a change of it says nothing (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.analysis.effects import compute_two_steps
from intravisto_core.experiments.patch_cells import Cell, group_cells
from intravisto_core.experiments.patch_runs import Exchange
from intravisto_core.sites import PatchMetric

N_NO_OPS = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """m of logits after the last position. clean: the clean run's logits there, float32. contrast: −1 for none."""

    metric: PatchMetric
    target: int
    contrast: int
    clean: Float[Tensor, " V"]

    def __call__(self, logits: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
        if self.metric is PatchMetric.LOGIT_DIFF:
            return logits[:, self.target].double() - logits[:, self.contrast].double()
        if self.metric is PatchMetric.PROBABILITY:
            return logits.double().log_softmax(-1)[:, self.target].exp()
        if logits.requires_grad:  # for slopes, where it need not be right to the last digit
            p, q = self.clean.double().log_softmax(-1), logits.double().log_softmax(-1)
            return (p.exp() * (p - q)).sum(-1)
        return compute_divergence(self.clean.expand(len(logits), -1), logits)

    def rounding(self, logits: Float[Tensor, "n V"], dtype: torch.dtype) -> float:
        """What two steps of the dtype at the size of the logits move m by; 0 of a divergence, which is nudged."""
        if self.metric is PatchMetric.KL:
            return 0.0
        if self.metric is PatchMetric.PROBABILITY:
            p = logits.double().softmax(-1)[:, self.target]
            steps = [compute_two_steps(row[[self.target]], dtype) for row in logits]
            return max(float(a * (1 - a)) * b for a, b in zip(p, steps, strict=True))
        return compute_two_steps(logits[:, [self.target, self.contrast]].flatten(), dtype)


def measure_noise_floor(
    exchange: Exchange, measured: Measured, cells: Sequence[Cell], logits: Float[Tensor, "2 V"], receiving: float
) -> float:
    """`max(no-op, two steps of the dtype, 2·max|Δm| over 8 no-ops whose values are moved by ±1 step)`.

    These put the receiver's own values in cells that lie evenly among those of the grid, on the grid's own path.
    logits: of both runs. receiving: m of the receiver's run.
    """
    dtype, generator = exchange.model.dtype, torch.Generator().manual_seed(0)
    chosen = [cells[i * len(cells) // N_NO_OPS] for i in range(min(N_NO_OPS, len(cells)))]
    own = [exchange.read(cell, exchange.receiver, own=True) for cell in chosen]
    moved = [nudge(x, dtype, generator) for x in own]
    # the first and the last are no-ops as they are, beside those that are moved
    tried, values = [*chosen, chosen[0], chosen[-1]], [*moved, own[0], own[-1]]
    changes = np.empty(len(tried))
    n_layers, every = exchange.model.dimensions.n_layers, range(len(tried))
    for group in group_cells(exchange.site, tried, every, exchange.stop, n_layers, exchange.grows):
        changes[group] = exchange.run([tried[i] for i in group], [values[i] for i in group]).numpy() - receiving
    sizes = np.abs(changes)
    return float(max(sizes[-2:].max(), 2 * sizes[:-2].max(), measured.rounding(logits, dtype)))


def nudge(x: Float[Tensor, "n width"], dtype: torch.dtype, generator: torch.Generator) -> Float[Tensor, "n width"]:
    """Each number moved by one step of the dtype, up or down by the toss of a coin."""
    size = x.float().abs()
    exponent = torch.floor(torch.log2(size.clamp(min=torch.finfo(torch.float32).tiny)))
    signs = (torch.randint(0, 2, x.shape, generator=generator) * 2 - 1).to(x.device)
    step = torch.where(size > 0, torch.finfo(dtype).eps * torch.exp2(exponent), 0.0)
    return (x.float() + signs * step).to(x.dtype)
