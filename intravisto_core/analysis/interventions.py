"""The vectors that interventions write (docs/methods.md §8): pure maths, float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.read_back import PlaceReading
from intravisto_core.analysis.readings import compute_token_directions
from intravisto_core.lenses import table_lens
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Lens

SMALLEST = 1e-12


def compute_token_vector(model: LoadedModel, ids: Sequence[int], lens: Lens, row: int) -> Float[Tensor, " d"]:
    """The row of E or U, or their mix at a heatmap row, of a token; of several, their mean."""
    a = _mix(model, lens, row, len(ids))[:, None]
    chosen = torch.tensor(list(ids), device=model.device)
    rows = torch.zeros((len(ids), model.dimensions.d_model), dtype=torch.float32, device=model.device)
    if bool((a < 1).any()):
        rows = rows + (1 - a) * model.weights.get("embed", chosen).float()
    if bool((a > 0).any()):
        rows = rows + a * model.weights.get("unembed", chosen).float()
    return rows.mean(0)


def compute_token_direction(model: LoadedModel, ids: Sequence[int], reading: PlaceReading) -> Float[Tensor, " d"]:
    """ê of a token at a place that is read so; of several, their mean scaled to 1."""
    chosen = torch.tensor(list(ids), device=model.device)
    return scale_to_unit(_directions(model, chosen, reading).mean(0))


def _directions(model: LoadedModel, ids: Int[Tensor, " n"], reading: PlaceReading) -> Float[Tensor, "n d"]:
    as_it_is = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    mix = _mix(model, reading.lens, reading.row, len(ids)).to(ids.device)
    return compute_token_directions(model, ids, mix, reading.policy, as_it_is)


def _mix(model: LoadedModel, lens: Lens, row: int, n: int) -> Float[Tensor, " n"]:
    return table_lens(lens).mix(torch.full((n,), row, device=model.device), model.dimensions.n_layers)


def scale_to_unit(v: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """v̂."""
    return v / v.norm().clamp(min=SMALLEST)


def match_norm(v: Float[Tensor, "n d"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each vector scaled to the norm of what it replaces."""
    return v / v.norm(dim=-1, keepdim=True).clamp(min=SMALLEST) * x.norm(dim=-1, keepdim=True)


def replace_main(
    model: LoadedModel, x: Float[Tensor, "n d"], top: Int[Tensor, " n"], ids: Sequence[int], reading: PlaceReading
) -> Float[Tensor, "n d"]:
    """`x − c ê₁ + c ê_new`, `c = ⟨x, ê₁⟩`, rescaled to ‖x‖; x itself where its top token is the new one already."""
    main, new = _directions(model, top, reading), compute_token_direction(model, ids, reading)
    c = (x * main).sum(-1, keepdim=True)
    changed = match_norm(x - c * main + c * new, x)
    same = (top == ids[0]) if len(ids) == 1 else torch.zeros_like(top, dtype=torch.bool)
    return torch.where(same[:, None], x, changed)


def remove_direction(x: Float[Tensor, "n d"], direction: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """`x − ⟨x,d̂⟩ d̂`."""
    d = scale_to_unit(direction)
    return x - (x @ d)[:, None] * d


def swap_directions(
    x: Float[Tensor, "n d"], source: Float[Tensor, " d"], target: Float[Tensor, " d"]
) -> Float[Tensor, "n d"]:
    """The coordinates (a, b) of x in span{ŝ, t̂} become (b, a); the rest of x stays."""
    s, t = scale_to_unit(source), scale_to_unit(target)
    plane = torch.stack([s, t])
    gram = plane.double() @ plane.double().T
    coordinates = (x @ plane.T).double() @ torch.linalg.inv(gram)
    a, b = coordinates.float().unbind(-1)
    return x + (b - a)[:, None] * s + (a - b)[:, None] * t


def measure_median_length(x: Float[Tensor, "T d"]) -> float:
    """The median ‖x‖ over positions ≥ 1 (over the only one, where there is but one)."""
    lengths = x.float().norm(dim=-1)
    return float((lengths[1:] if len(lengths) > 1 else lengths).median())
