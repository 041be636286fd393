"""How much each head and MLP is worth to the metric, by four ways to ask (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.alignment import find_first_difference
from intravisto_core.experiments.edges import score_edges, score_sources
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.experiments.patch_cells import Cell, group_cells
from intravisto_core.experiments.patch_estimate import estimate_effects
from intravisto_core.experiments.patch_metric import Measured
from intravisto_core.experiments.patch_runs import Exchange
from intravisto_core.models import LoadedModel
from intravisto_core.request import CircuitRequest
from intravisto_core.sites import PatchMetric, Ranking, Site
from intravisto_core.tracing import RunControl, TraceData


@dataclass(frozen=True, slots=True)
class Pair:
    """The runs of a prompt and of its counterfactual. first: where they first read other tokens. logits: (2, 2), of
    target and contrast in both."""

    clean: TraceData
    corrupt: TraceData
    target: int
    contrast: int
    first: int
    logits: Tensor
    last: Tensor

    @classmethod
    def of(cls, clean: TraceData, corrupt: TraceData, target: int, contrast: int, logits: Tensor) -> Pair:
        """logits: (2, V) after the last position of both."""
        first = find_first_difference(clean.ids, corrupt.ids)
        return cls(clean, corrupt, target, contrast, first, logits[:, [target, contrast]], logits[0])

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from other pairs."""
        return self.clean.ids, self.corrupt.ids, self.target, self.contrast

    def metric(self, logits: Tensor) -> np.ndarray:
        """m of logits (n, V)."""
        found: np.ndarray = (logits[:, self.target].double() - logits[:, self.contrast].double()).cpu().numpy()
        return found

    @property
    def clean_metric(self) -> float:
        """m of the prompt's run."""
        return float(self.logits[0, 0].double() - self.logits[0, 1].double())

    @property
    def corrupt_metric(self) -> float:
        """m of the counterfactual run."""
        return float(self.logits[1, 0].double() - self.logits[1, 1].double())


def rank_parts(
    model: LoadedModel, pairs: Sequence[Pair], request: CircuitRequest, control: RunControl
) -> Generator[int, None, tuple[np.ndarray, Tensor | None]]:
    """The score of each head and MLP, a mean over the pairs; of EAP-IG also of each edge. Yields pairs that are done.

    A score is what m is estimated, or measured, to lose where the part comes from the counterfactual.

    Raises:
        ModelError: the model cannot be differentiated, or its code is not open enough.
    """
    size = model.dimensions
    total, edges = np.zeros(size.n_layers * (size.n_heads + 1)), None
    if request.by is Ranking.RANDOM:
        return np.random.default_rng(request.seed).standard_normal(len(total)), None
    for number, pair in enumerate(pairs):
        if request.by is Ranking.EAP_IG:
            metric = Metric(pair.target, pair.contrast, pair.clean.length - 1)
            found = score_edges(model, pair.clean, pair.corrupt, metric, request.steps)
            edges = found if edges is None else edges + found
            total += score_sources(found).double().numpy()
        else:
            total -= _measure_parts(model, pair, request.by, control)
        yield number + 1
    return total / len(pairs), None if edges is None else edges / len(pairs)


@torch.no_grad()
def _measure_parts(model: LoadedModel, pair: Pair, by: Ranking, control: RunControl) -> np.ndarray:
    """Δm of the prompt's run with each part from the counterfactual, estimated or run."""
    size, places = model.dimensions, tuple((p, p) for p in range(pair.first, pair.clean.length))
    out = np.zeros((size.n_layers, size.n_heads + 1))
    measured = Measured(PatchMetric.LOGIT_DIFF, pair.target, pair.contrast, pair.last)
    columns: tuple[tuple[Site, Sequence[int | None]], ...] = ((Site.Z, range(size.n_heads)), (Site.MLP_OUT, (None,)))
    for site, heads in columns:
        exchange = Exchange.of(model, pair.clean, pair.corrupt, site, measured, control)
        cells = [Cell(layer, places, head) for layer in range(size.n_layers) for head in heads]
        found = _estimate(exchange, cells) if by is Ranking.ATTRIBUTION else _run(exchange, cells, pair.clean_metric)
        part = slice(0, size.n_heads) if site is Site.Z else slice(size.n_heads, None)
        out[:, part] = found.reshape(size.n_layers, -1)
    return out.reshape(-1)


def _estimate(exchange: Exchange, cells: Sequence[Cell]) -> np.ndarray:
    with torch.enable_grad():
        return estimate_effects(exchange, cells)


def _run(exchange: Exchange, cells: Sequence[Cell], before: float) -> np.ndarray:
    out, n_layers = np.zeros(len(cells)), exchange.model.dimensions.n_layers
    everything = list(range(len(cells)))
    for group in group_cells(exchange.site, cells, everything, exchange.stop, n_layers, exchange.grows):
        here = [cells[i] for i in group]
        found = exchange.run(here, [exchange.read(cell, exchange.donor) for cell in here])
        out[group] = found.numpy() - before
    return out
