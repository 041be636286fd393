"""Which tokens of a text a prediction depends on: by gradients, or by putting other tokens there (methods §11)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intravisto_core.experiments.gradients import (
    LastMetric,
    compute_embedding_gradients,
    count_batch,
    evaluate_embeddings,
    read_embeddings,
    require_gradients,
)
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.experiments.passage import Passage, run_last
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.sites import SaliencyReference
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.reuse import fill_cache, find_obstacle

MOST_STEPS = 1024
COMPLETE = 1e-3
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Integrated:
    """scores: one a token, float64. before, after: m of the reference and of the text. steps: of the rule that is kept.
    error: |Σ scores − (after − before)|. converged: whether it is small enough."""

    scores: Float[Tensor, " n"]
    before: float
    after: float
    steps: int
    error: float
    converged: bool


def multiply_gradient(passage: Passage, metric: Metric) -> tuple[Float[Tensor, " n"], float]:
    """⟨∂m/∂e, e⟩ of each token's embedding e, and m."""
    e = read_embeddings(passage.model, passage.ids)
    values, gradients = compute_embedding_gradients(passage, e[None], metric)
    return (gradients[0].double() * e.double()).sum(-1).cpu(), float(values[0])


def integrate_gradients(
    passage: Passage,
    metric: Metric,
    held: Bool[Tensor, " n"],
    reference: SaliencyReference,
    steps: int,
    noise: float,
) -> Generator[Progress, None, Integrated]:
    """Integrated gradients from the reference to the text; steps are doubled until the scores add up.

    noise: a difference of m below which nothing is told apart.
    """
    model = passage.model
    require_gradients(model)
    e = read_embeddings(model, passage.ids)
    blank = torch.zeros_like(e[0]) if reference is SaliencyReference.ZERO else compute_mean_embedding(model).to(e.dtype)
    start = torch.where(held.to(e.device)[:, None], e, blank)
    before, after = evaluate_embeddings(passage, torch.stack([start, e]), metric).tolist()
    way, allowed = e.double() - start.double(), COMPLETE * max(abs(after - before), noise)
    best: Integrated | None = None
    while True:
        total = yield from _sum_gradients(passage, start, way, metric, steps)
        scores = (way * total / steps).sum(-1).cpu()
        error = abs(float(scores.sum()) - (after - before))
        # in a coarse dtype the rounding of m itself keeps the sum away, however many steps there are
        stalled = best is not None and error <= noise and error > best.error / 2
        if best is None or error < best.error:
            best = Integrated(scores, before, after, steps, error, error <= allowed)
        if best.converged or stalled or steps >= MOST_STEPS:
            return best
        steps = min(2 * steps, MOST_STEPS)


def _sum_gradients(
    passage: Passage,
    start: Float[Tensor, "n d"],
    way: Float[Tensor, "n d"],
    metric: Metric,
    steps: int,
) -> Generator[Progress, None, Float[Tensor, "n d"]]:
    """The sum of ∂m/∂e over the middles of all steps of the way, float64."""
    total, size = torch.zeros_like(way), count_batch(passage.model, len(passage.ids))
    for first in range(0, steps, size):
        middles = (torch.arange(first, min(first + size, steps), device=way.device, dtype=torch.float64) + 0.5) / steps
        points = (start.double() + middles[:, None, None] * way).to(start.dtype)
        total += compute_embedding_gradients(passage, points, metric)[1].double().sum(0)
        yield Progress(min(first + size, steps), steps, "integrating gradients")
    return total


def compute_mean_embedding(model: LoadedModel) -> Float[Tensor, " d"]:
    """The mean of what the table gives over all token ids, summed in float64."""
    n = model.weights.n_rows("embed")
    parts = [read_embeddings(model, range(i, min(i + CHUNK, n))).double().sum(0) for i in range(0, n, CHUNK)]
    return torch.stack(parts).sum(0) / n


def occlude(
    passage: Passage, data: TraceData, metric: LastMetric, drawn: Int[Tensor, "n draws"]
) -> Generator[Progress, None, tuple[Float[Tensor, " n"], float]]:
    """m of the text less the mean m with another token at a position, for each position; and m.

    drawn: the other tokens of each position; −1 at positions that are left alone, whose score is 0.
    """
    model, ids, n = passage.model, passage.ids, len(passage.ids)
    whole = float(metric(_run(passage, data, passage.tokens, 0))[0])
    scores = torch.zeros(n, dtype=torch.float64)
    again = passage.edits is None and not find_obstacle(model, data)
    size = count_batch(model, n) if passage.in_batches else 1
    for position in range(n):
        others = drawn[position]
        if int(others[0]) >= 0:
            first = position if again else 0
            texts = torch.tensor(ids[first:]).repeat(len(others), 1)
            texts[:, position - first] = others
            parts = [metric(_run(passage, data, part, first)).double().cpu() for part in texts.split(size)]
            scores[position] = whole - float(torch.cat(parts).mean())
        yield Progress(position + 1, n, "putting other tokens in")
    return scores, whole


@torch.no_grad()
def _run(passage: Passage, data: TraceData, texts: Int[Tensor, "b n"], first: int) -> Float[Tensor, "b V"]:
    """Logits after the position, of texts that begin at position `first`, on what the run had before it."""
    texts = texts.to(passage.model.device)
    if not first:
        return passage.run(texts)
    cache = fill_cache(passage.model, data, first)
    cache.batch_repeat_interleave(len(texts))
    return run_last(passage.model, texts, **passage.model.cached(cache))
