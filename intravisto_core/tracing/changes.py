"""What each operation makes of the values at its place (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from intravisto_core.analysis import interventions as maths
from intravisto_core.errors import RequestError, expected
from intravisto_core.request import (
    Ablate,
    RemoveDirection,
    Replace,
    ReplaceMain,
    Scale,
    SetValue,
    Steer,
    SwapDirection,
)
from intravisto_core.sites import Ablation, Site, SteerUnit
from intravisto_core.tracing.edits import Change
from intravisto_core.tracing.expert_edits import ExpertNeuron

if TYPE_CHECKING:
    from intravisto_core.tracing.binding import Binder

Part = slice | ExpertNeuron | None
UPDATES = (Site.ATTN_OUT, Site.MLP_OUT)


def by_position(places: Sequence[int], rows: Tensor) -> Change:
    """Rows that were fetched for positions, whatever was there."""
    at = {p: i for i, p in enumerate(places)}

    def change(x: Tensor, positions: list[int]) -> Tensor:
        return rows[[at[p] for p in positions]].to(x.device)

    return change


def _replace(binder: Binder, each: Replace, layer: int, *_: Any) -> Change:
    row = binder.row(each, layer)
    vector = maths.token_vector(binder.model, binder.ids(each.token), each.lens, row)

    def change(x: Tensor, _: list[int]) -> Tensor:
        new = vector.expand(x.shape)
        return maths.with_norm_of(new, x.float()) if each.match_norm else new

    return change


def _replace_main(binder: Binder, each: ReplaceMain, layer: int, *_: Any) -> Change:
    model, ids, row, update = binder.model, binder.ids(each.token), binder.row(each, layer), each.site in UPDATES

    def change(x: Tensor, places: list[int]) -> Tensor:
        old = x.float()
        top = maths.top_tokens(model, old, each.lens, row, update)
        new = maths.main_replaced(model, old, top, ids, each.lens, row)
        binder.report(layer, each.site, places, top, ids, maths.top_tokens(model, new, each.lens, row, update))
        return new

    return change


def _ablate(binder: Binder, each: Ablate, layer: int, places: tuple[int, ...], part: Part) -> Change:
    if each.how is Ablation.ZERO:
        return lambda x, _: torch.zeros_like(x)
    if each.how is Ablation.RESAMPLE:
        assert isinstance(each.source, str)
        rows = binder.values(binder.source(each.source)[0], each.site, layer, part)
        if places[-1] >= len(rows):
            raise RequestError(expected("positions", f"at most {len(rows) - 1}, the last of the source", places[-1]))
        return lambda x, positions: rows[positions].to(x.device)
    traces = [binder.baseline] if each.source is None else binder.source(each.source)
    if isinstance(part, ExpertNeuron):
        found = torch.cat([part.chosen(trace) for trace in traces])
        if not len(found):
            raise RequestError("mean: expected positions that the router gives to this expert; there are none")
    else:
        found = torch.cat([binder.values(trace, each.site, layer, part).float() for trace in traces])
    mean = found.mean(0)
    return lambda x, _: mean.to(x.device).expand(x.shape)


def _steer(binder: Binder, each: Steer, layer: int, *_: Any) -> Change:
    direction = binder.direction(each.direction, binder.row(each, layer))
    strength = float(each.strength)
    if each.unit is SteerUnit.STREAM:
        strength *= maths.median_length(binder.values(binder.baseline, each.site, layer, None))
    return lambda x, _: x.float() + strength * direction.to(x.device)


def _remove(binder: Binder, each: RemoveDirection, layer: int, *_: Any) -> Change:
    direction = binder.direction(each.direction, binder.row(each, layer))
    return lambda x, _: maths.without(x.float(), direction.to(x.device))


def _swap(binder: Binder, each: SwapDirection, layer: int, *_: Any) -> Change:
    row = binder.row(each, layer)
    source, target = binder.direction(each.source, row), binder.direction(each.target, row)
    if bool((source @ target).abs() > 1 - 1e-6):
        raise RequestError("target: expected a direction that differs from the source's; got the same line")
    return lambda x, _: maths.swapped(x.float(), source.to(x.device), target.to(x.device))


def _scale(binder: Binder, each: Scale, *_: Any) -> Change:
    return lambda x, _: x.float() * each.factor


def _set_value(binder: Binder, each: SetValue, layer: int, places: tuple[int, ...], part: Part) -> Change:
    if isinstance(each.value, float):
        value = each.value
        return lambda x, _: torch.full_like(x, value)
    rows = binder.tensor(each.value, "value")
    whole = binder.values(binder.baseline, each.site, layer, part).shape[1]
    if rows.ndim == 1 and len(rows) in (1, whole):
        return lambda x, _: rows.to(x.device).expand(x.shape)
    if rows.ndim != 2 or rows.shape[1] != whole or len(rows) not in (1, len(places)):
        allowed = f"{whole} numbers, or {len(places)} × {whole}"
        raise RequestError(expected("value", allowed, " × ".join(map(str, rows.shape))))
    return by_position(places, rows.expand(len(places), whole))


CHANGES: dict[type, Any] = {
    Replace: _replace,
    ReplaceMain: _replace_main,
    Ablate: _ablate,
    Steer: _steer,
    RemoveDirection: _remove,
    SwapDirection: _swap,
    Scale: _scale,
    SetValue: _set_value,
}
