"""Take links away, one by one, and see what becomes of a prediction (docs/methods.md §6, checking a link).

A link's vector e goes into the stream s of a block; the metric m is a logit difference. Predicted: `−⟨∂m/∂s, e⟩`, one
backward pass for all links. Measured: `m(run without e) − m`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.experiments.link_gradients import compute_stream_gradients
from intravisto_core.experiments.link_runs import (
    Metric,
    enters_after_mlp,
    find_start,
    group_links,
    run_without,
    run_without_in_full,
)
from intravisto_core.experiments.link_vectors import compute_link_vector
from intravisto_core.models import LoadedModel
from intravisto_core.request import Link
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.reuse import find_obstacle

SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Checked:
    """predicted, measured, size: one number a link. metric: m. noise: largest change of m by taking nothing away."""

    predicted: Float[Tensor, " n"]
    measured: Float[Tensor, " n"]
    size: Float[Tensor, " n"]
    metric: float
    noise: float


def check_links(
    model: LoadedModel, data: TraceData, links: Sequence[Link], metric: Metric
) -> Generator[int, None, Checked]:
    """Predict and measure all links; yields how many were measured. Layers and positions are 0-based, not negative.

    Raises:
        RequestError: a link that this model does not have.
        ModelError: gradients cannot be taken through it.
    """
    vectors = torch.stack([compute_link_vector(model, data, link) for link in links])
    in_full = bool(find_obstacle(model, data))
    gradients = compute_stream_gradients(model, data, links, metric, in_full)
    predicted = torch.stack([-gradients.along(link, e) for link, e in zip(links, vectors, strict=True)])
    whole = float(metric(model.logits(data.final[metric.position : metric.position + 1])[0]))
    first = _first_of_same(links, vectors, model.blueprint.parallel)
    measured, noise = torch.zeros(len(links), dtype=torch.float32), 0.0
    chosen = sorted(set(first))
    batches = _batches([links[i] for i in chosen], metric.position, model.dimensions.n_layers, in_full)
    ends = _longest_and_shortest([[links[chosen[i]] for i in batch] for batch in batches])
    done = len(links) - sum(map(len, batches))
    for number, batch in enumerate(batches):
        here = [chosen[i] for i in batch]
        if in_full:
            found = run_without_in_full(model, data, links[here[0]], vectors[here[0]], metric) - whole
        else:
            asked, taken = [links[i] for i in here], vectors[here]
            if number in ends:
                asked, taken = [asked[0], *asked], torch.cat([torch.zeros_like(taken[:1]), taken])
            found = run_without(model, data, asked, taken, metric) - whole
            if number in ends:
                noise, found = max(noise, abs(float(found[0]))), found[1:]
        measured[here] = found
        done += len(batch)
        yield done
    return Checked(predicted.cpu(), measured[first], vectors.norm(dim=-1).cpu(), whole, noise)


def _batches(links: Sequence[Link], last: int, n_layers: int, in_full: bool) -> list[list[int]]:
    if in_full:
        return [[i] for i, link in enumerate(links) if link.position <= last]
    return group_links(links, last, n_layers)


def _longest_and_shortest(batches: Sequence[Sequence[Link]]) -> set[int]:
    """The numbers of the two batches on whose paths the noise floor is measured."""
    order = sorted(range(len(batches)), key=lambda i: find_start(batches[i])[::-1])
    return {*order[:1], *order[-1:]}


def _first_of_same(links: Sequence[Link], vectors: Float[Tensor, "n d"], parallel: bool) -> list[int]:
    """For each link the first one that takes the same vector from the same place; those are measured once.

    Such are attention and its only source, at position 0.
    """
    found: list[int] = []
    by_place: dict[tuple[bool, int, int], list[int]] = {}
    for i, link in enumerate(links):
        known = by_place.setdefault((parallel or enters_after_mlp(link), link.layer, link.position), [])
        allowed = SAME * float(vectors[i].norm())
        same = next((j for j in known if float((vectors[i] - vectors[j]).norm()) <= allowed), i)
        if same == i:
            known.append(i)
        found.append(same)
    return found
