"""A vector that reads back as a token where the whitened one does not: uphill on the sphere (docs/methods.md §8)."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.lenses import FLOOR, compute_logits
from intravisto_core.analysis.read_back import PlaceReading
from intravisto_core.analysis.whitening import enter_stream, split_mix
from intravisto_core.lenses import Projection
from intravisto_core.models import LoadedModel
from intravisto_core.progress import Progress
from intravisto_core.sites import NormPolicy

MOST_STEPS = 200
# a probability from which on a vector is sure enough
SURE = 0.9
_FIRST_ANGLE, _MOST_ANGLE, _LEAST_ANGLE = 0.3, 1.2, 1e-4
_FASTER, _SLOWER = 1.5, 0.5
_SECTIONS, _EXCHANGES = 60, 100
_SCALED = (NormPolicy.FINAL, NormPolicy.STREAM)


@dataclass(frozen=True, slots=True)
class Climb:
    """Where a climb ended. impossible: that no vector reads back as the token, as far as the model's dtype tells."""

    vector: Float[Tensor, " d"]
    impossible: bool = False


class Sphere:
    """Vectors of one length at a place, and the logits `M y + c` that they read as.

    y: what the norm makes of a vector before γ and β, of length √d; under the policy *none* the vector itself. c:
    `W β + b_U`, which no vector changes. The logit scale is in both; a soft-cap, which is left out, changes no order.
    """

    def __init__(self, model: LoadedModel, reading: PlaceReading, length: float) -> None:
        self.model, self.policy = model, reading.policy
        self._mix, self._bias = reading.mix(model.dimensions.n_layers), not reading.is_update
        self.radius = length if reading.policy is NormPolicy.NONE else math.sqrt(model.dimensions.d_model)

    def reach(self, y: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
        """The point of the sphere in the direction of a vector of the stream."""
        y = y if self.policy is NormPolicy.NONE else self.model.norm.centre(y)
        return y * (self.radius / y.norm().clamp(min=torch.finfo(y.dtype).tiny))

    def logits(self, y: Float[Tensor, " d"]) -> Float[Tensor, " V"]:
        """`M y + c`."""
        norm = self.model.norm
        x_hat = norm.scale * y if self.policy in _SCALED else y
        if self.policy is NormPolicy.FINAL and norm.shift is not None:
            x_hat = x_hat + norm.shift
        mix = torch.full((1,), self._mix, dtype=torch.float32, device=y.device)
        found = compute_logits(self.model, Projection(x_hat[None], mix, bias=self._bias, capped=False))[0]
        return found.clamp(min=FLOOR)

    def pull(self, weights: Float[Tensor, " V"]) -> Float[Tensor, " d"]:
        """`Σ_v weights_v M[v]`: the gradient of a weighted sum of logits."""
        found = torch.zeros(self.model.dimensions.d_model, dtype=torch.float32, device=weights.device)
        for table, share in split_mix(self._mix).items():
            for start, rows in self.model.weights.chunks(table):
                found += share * (weights[start : start + len(rows)] @ rows)
        return enter_stream(self.model, found, self.policy) * self.model.blueprint.logit_scale

    def row(self, token: int) -> Float[Tensor, " d"]:
        """`M[token]`."""
        at = slice(token, token + 1)
        found = sum(share * self.model.weights.get(t, at)[0].float() for t, share in split_mix(self._mix).items())
        return enter_stream(self.model, torch.as_tensor(found), self.policy) * self.model.blueprint.logit_scale


def climb(
    model: LoadedModel, start: Float[Tensor, " d"], token: int, reading: PlaceReading, length: float
) -> Generator[Progress, None, Climb]:
    """From a vector uphill to where the token's probability is highest, then to the proof that no vector wins.

    length: of the vectors at that place. Yields how many steps were made.
    """
    sphere = Sphere(model, reading, length)
    y = yield from _ascend(sphere, sphere.reach(start), token)
    if _leads(sphere.logits(y), token):
        return Climb(y)
    return (yield from _separate(sphere, y, token))


def _leads(z: Float[Tensor, " V"], token: int) -> bool:
    return int(z.argmax()) == token


def _ascend(sphere: Sphere, y: Float[Tensor, " d"], token: int) -> Generator[Progress, None, Float[Tensor, " d"]]:
    """Steepest ascent of log p along great circles; a step that does not gain is halved."""
    angle, z = _FIRST_ANGLE, sphere.logits(y)
    for step in range(MOST_STEPS):
        yield Progress(step, MOST_STEPS, "looking for a vector that reads back")
        p = z.softmax(-1)
        if float(p[token]) >= SURE:
            break
        weights = -p
        weights[token] += 1
        gradient = sphere.pull(weights)
        tangent = gradient - (gradient @ y) / (y @ y) * y
        if not float(tangent.norm()) > 0:
            break
        uphill, value = sphere.reach(tangent), z.log_softmax(-1)[token]
        while angle >= _LEAST_ANGLE:
            moved = math.cos(angle) * y + math.sin(angle) * uphill
            found = sphere.logits(moved)
            if bool(found.log_softmax(-1)[token] > value):
                y, z, angle = moved, found, min(_MOST_ANGLE, _FASTER * angle)
                break
            angle *= _SLOWER
        else:
            break
    return y


def _separate(sphere: Sphere, best: Float[Tensor, " d"], token: int) -> Generator[Progress, None, Climb]:
    """A vector that leads, or the proof that there is none, over a growing set of rivals.

    For weights p over the rivals, `g = M[t] − Σ p M` and `k = c_t − Σ p c`, no y of the sphere leads by more than
    `radius·‖g‖ + k`. Where the least of it is below what the dtype resolves, no vector reads back as the token.
    """
    constants = sphere.logits(torch.zeros_like(best)).double()
    own, step = sphere.row(token), 2 * torch.finfo(sphere.model.dtype).eps
    hull = _Hull(sphere.radius)
    rivals: list[int] = []
    y = sphere.reach(own)
    for turn in range(MOST_STEPS):
        yield Progress(turn, MOST_STEPS, "looking for a vector that reads back")
        z = sphere.logits(y)
        if _leads(z, token):
            return Climb(y)
        z[token] = -math.inf
        rival = int(z.argmax())
        if rivals and hull.bound <= step * float(z[rival].abs()):
            return Climb(best, impossible=True)
        if rival in rivals:  # nothing new to learn
            break
        rivals.append(rival)
        hull.add((own - sphere.row(rival)).double(), float(constants[token] - constants[rival]))
        y = sphere.reach(hull.g.float())
    return Climb(best)


class _Hull:
    """The least of `radius·‖g‖ + k` over weights of some rivals. g: (d,). bound: that least value."""

    def __init__(self, radius: float) -> None:
        self._radius = radius
        self._differences: list[Tensor] = []
        self._leads: list[float] = []
        self._weights: list[float] = []

    def add(self, difference: Float[Tensor, " d"], lead: float) -> None:
        """One rival more: `M[t] − M[rival]` and `c_t − c_rival`."""
        self._differences.append(difference)
        self._leads.append(lead)
        self._weights.append(0.0 if self._weights else 1.0)
        d = torch.stack(self._differences)
        leads, weights = (d.new_tensor(numbers) for numbers in (self._leads, self._weights))
        for _ in range(_EXCHANGES):
            g, k = weights @ d, float(weights @ leads)
            slopes = self._radius * (d @ g) / g.norm().clamp(min=1e-300) + leads
            low, high = int(slopes.argmin()), int(slopes.masked_fill(weights <= 0, -math.inf).argmax())
            if low == high or not float(slopes[high] - slopes[low]) > 0:
                break
            way, most = d[low] - d[high], float(weights[high])
            part = _least(self._radius, (g, k), (most * way, most * float(leads[low] - leads[high])))
            weights[low] += part * most
            weights[high] = most * (1 - part) if part < 1 else 0.0
        self._weights = weights.tolist()
        self.g, self.bound = weights @ d, float(self._radius * (weights @ d).norm() + weights @ leads)


def _least(radius: float, here: tuple[Tensor, float], way: tuple[Tensor, float]) -> float:
    """Which part of a way, from 0 to 1, makes `radius·‖g‖ + k` least: it is convex, so by thirds."""
    (g, _), (step, slope) = here, way
    length, product, square = (float(v) for v in (g @ g, g @ step, step @ step))

    def value(s: float) -> float:
        return radius * math.sqrt(max(0.0, length + 2 * s * product + s * s * square)) + s * slope

    low, high = 0.0, 1.0
    for _ in range(_SECTIONS):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if value(a) <= value(b) else (a, high)
    middle = (low + high) / 2
    return min((0.0, middle, 1.0), key=value)
