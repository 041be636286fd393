"""How two models of one shape differ: in what their layers would say, and in their weights (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.errors import RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.models.weights import StoredWeight, stored_weights

_ROWS = 4096
# above this a ratio of probabilities is taken as it is; below, from its logarithm
_NEAR = 0.5


@dataclass(frozen=True, slots=True)
class CellDifference:
    """Of n pairs of cells. kl: KL(first ‖ second), nats. ids, other_ids: top tokens. largest: the largest |change| of a
    logit. rms: root of the mean square of the changes, less their mean, which no softmax sees."""

    kl: Float[Tensor, " n"]
    ids: Int[Tensor, " n"]
    other_ids: Int[Tensor, " n"]
    largest: Float[Tensor, " n"]
    rms: Float[Tensor, " n"]


def exact_divergence(z: Float[Tensor, "n V"], w: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
    """KL(softmax z ‖ softmax w) in nats, in float64 and without cancellation, so that it is 0 of equal logits.

    With δ = ln q − ln p every term p(e^δ − 1 − δ) is at least 0 and their sum is Σ p ln(p/q), as Σ p(e^δ − 1) = 0.
    """
    log_p, log_q = z.double().log_softmax(-1), w.double().log_softmax(-1)
    p, delta = log_p.exp(), log_q - log_p
    terms = torch.where(delta.abs() < _NEAR, p * (torch.expm1(delta) - delta), log_q.exp() - p - p * delta)
    return terms.sum(-1).clamp(min=0).float()


def cell_difference(z: Float[Tensor, "n V"], w: Float[Tensor, "n V"]) -> CellDifference:
    """Of cells with logits z of the first model and w of the second."""
    change = w - z
    return CellDifference(
        kl=exact_divergence(z, w),
        ids=z.argmax(-1),
        other_ids=w.argmax(-1),
        largest=change.abs().amax(-1),
        rms=(change - change.mean(-1, keepdim=True)).square().mean(-1).sqrt(),
    )


def weight_errors(model: LoadedModel, other: LoadedModel) -> Iterator[tuple[str, float]]:
    """‖W′ − W‖ / ‖W‖ (Frobenius) of every weight by its name, as the model runs with it; read by blocks of rows.

    Raises:
        RequestError: one has weights that the other has not, or of another shape.
    """
    first, second = ({w.name: w for w in stored_weights(m.network, m.dtype)} for m in (model, other))
    for name in (*first, *second):
        if name not in first or name not in second:
            whose = model.name if name in first else other.name
            raise RequestError(f"other: expected a model with the same weights; {name} is in {whose} alone")
    for name, one in first.items():
        yield name, _error(one, second[name])


def _error(one: StoredWeight, two: StoredWeight) -> float:
    with one.whole() as a, two.whole() as b:
        if a.shape != b.shape:
            raise RequestError(
                f"other: expected a model of the same sizes; {one.name} is {tuple(a.shape)} in one and "
                f"{tuple(b.shape)} in the other"
            )
        change, size = 0.0, 0.0
        for start in range(0, len(a), _ROWS):
            x, y = (each[start : start + _ROWS].to("cpu", torch.float64) for each in (a, b))
            change += float((y - x).square().sum())
            size += float(x.square().sum())
    return float((change / size) ** 0.5) if size else float("inf") if change else 0.0
