"""What each operation makes of the values at its place (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from intravisto_core.analysis import interventions as maths
from intravisto_core.errors import RequestError, expected
from intravisto_core.models.rotation import turn_between
from intravisto_core.request import (
    Ablate,
    Patch,
    RemoveDirection,
    Replace,
    ReplaceMain,
    Scale,
    SetValue,
    Steer,
    SwapDirection,
)
from intravisto_core.request.positions import resolve
from intravisto_core.request.ranges import index
from intravisto_core.sites import Ablation, Site, SteerUnit, TokenVector
from intravisto_core.tracing.expert_edits import ExpertNeuron
from intravisto_core.tracing.operands import Columns, Operands
from intravisto_core.tracing.site_edits import Change
from intravisto_core.tracing.trace_data import TraceData

# What becomes of the values; where not at all the positions that were asked about, with the positions.
Operation = Callable[[Operands, Any, int, tuple[int, ...], Columns], "Change | tuple[tuple[int, ...], Change]"]
OPERATIONS: dict[type, Operation] = {}


def performs(kind: type) -> Callable[[Operation], Operation]:
    """Mark the function that carries out a kind of intervention."""

    def register(operation: Operation) -> Operation:
        OPERATIONS[kind] = operation
        return operation

    return register


def place_rows(places: Sequence[int], rows: Tensor) -> Change:
    """Rows that were fetched for positions, whatever was there."""
    at = {p: i for i, p in enumerate(places)}

    def change(x: Tensor, positions: list[int]) -> Tensor:
        return rows[[at[p] for p in positions]].to(x.device)

    return change


@performs(Replace)
def _replace(operands: Operands, each: Replace, layer: int, *_: Any) -> Change:
    ids, reading = operands.ids(each.token), operands.reading(each, layer)
    if each.vector is TokenVector.WHITENED:
        vector = operands.whitened(each)
    else:
        vector = maths.compute_token_vector(operands.model, ids, reading.lens, reading.row)

    def change(x: Tensor, places: list[int]) -> Tensor:
        new = vector.expand(x.shape)
        new = maths.match_norm(new, x.float()) if each.match_norm else new
        operands.report_read_back(each, layer, reading, places, new.to(x.dtype).float())
        return new

    return change


@performs(ReplaceMain)
def _replace_main(operands: Operands, each: ReplaceMain, layer: int, *_: Any) -> Change:
    model, ids, reading = operands.model, operands.ids(each.token), operands.reading(each, layer)

    def change(x: Tensor, places: list[int]) -> Tensor:
        old = x.float()
        top = reading.top_tokens(model, old)
        new = maths.replace_main(model, old, top, ids, reading)
        operands.report_main(layer, each.site, places, top, ids, reading.top_tokens(model, new.to(x.dtype).float()))
        return new

    return change


@performs(Ablate)
def _ablate(operands: Operands, each: Ablate, layer: int, places: tuple[int, ...], columns: Columns) -> Change:
    if each.how is Ablation.ZERO:
        return lambda x, _: torch.zeros_like(x)
    if each.how is Ablation.RESAMPLE:
        assert isinstance(each.source, str)
        rows = operands.values(operands.source(each.source)[0], each.site, layer, columns)
        if places[-1] >= len(rows):
            raise RequestError(expected("positions", f"at most {len(rows) - 1}, the last of the source", places[-1]))
        return lambda x, positions: rows[positions].to(x.device)
    traces = [operands.baseline] if each.source is None else operands.source(each.source)
    if isinstance(columns, ExpertNeuron):
        found = torch.cat([columns.chosen(trace) for trace in traces])
        if not len(found):
            raise RequestError("mean: expected positions that the router gives to this expert; there are none")
    else:
        found = torch.cat([operands.values(trace, each.site, layer, columns).float() for trace in traces])
    mean = found.mean(0)
    return lambda x, _: mean.to(x.device).expand(x.shape)


@performs(Steer)
def _steer(operands: Operands, each: Steer, layer: int, *_: Any) -> Change:
    direction = operands.direction(each.direction, operands.row(each, layer))
    strength = float(each.strength)
    if each.unit is SteerUnit.STREAM:
        strength *= maths.measure_median_length(operands.values(operands.baseline, each.site, layer, None))
    return lambda x, _: x.float() + strength * direction.to(x.device)


@performs(RemoveDirection)
def _remove(operands: Operands, each: RemoveDirection, layer: int, *_: Any) -> Change:
    direction = operands.direction(each.direction, operands.row(each, layer))
    return lambda x, _: maths.remove_direction(x.float(), direction.to(x.device))


@performs(SwapDirection)
def _swap(operands: Operands, each: SwapDirection, layer: int, *_: Any) -> Change:
    row = operands.row(each, layer)
    source, target = operands.direction(each.source, row), operands.direction(each.target, row)
    if bool((source @ target).abs() > 1 - 1e-6):
        raise RequestError("target: expected a direction that differs from the source's; got the same line")
    return lambda x, _: maths.swap_directions(x.float(), source.to(x.device), target.to(x.device))


@performs(Scale)
def _scale(operands: Operands, each: Scale, *_: Any) -> Change:
    return lambda x, _: x.float() * each.factor


@performs(SetValue)
def _set_value(operands: Operands, each: SetValue, layer: int, places: tuple[int, ...], columns: Columns) -> Change:
    if isinstance(each.value, float):
        value = each.value
        return lambda x, _: torch.full_like(x, value)
    rows = operands.tensor(each.value, "value")
    whole = operands.values(operands.baseline, each.site, layer, columns).shape[1]
    if rows.ndim == 1 and len(rows) in (1, whole):
        return lambda x, _: rows.to(x.device).expand(x.shape)
    if rows.ndim != 2 or rows.shape[1] != whole or len(rows) not in (1, len(places)):
        allowed = f"{whole} numbers, or {len(places)} × {whole}"
        raise RequestError(expected("value", allowed, " × ".join(map(str, rows.shape))))
    return place_rows(places, rows.expand(len(places), whole))


@performs(Patch)
def _patch(
    operands: Operands, each: Patch, layer: int, places: tuple[int, ...], columns: Columns
) -> tuple[tuple[int, ...], Change]:
    """The positions that a patch changes, and the donor's values there; positions are matched one to one."""
    donor = operands.source(each.source)[0]
    places, chosen = match_places(operands, each, donor)
    from_layer = layer
    if each.source_layer is not None:
        from_layer = index(each.source_layer, operands.model.dimensions.n_layers, "source_layer")
    rows = operands.values(donor, each.site, from_layer, columns)[list(chosen)].clone()
    if each.site in (Site.Q, Site.K) and (chosen != places or from_layer != layer):
        heads = rows.unflatten(1, (-1, operands.model.dimensions.d_head)).transpose(0, 1)
        turned = turn_between(operands.model, heads, (from_layer, chosen), (layer, places))
        rows = turned.transpose(0, 1).flatten(1)
    return places, place_rows(places, rows)


def match_places(operands: Operands, each: Patch, donor: TraceData) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The positions that a patch changes, and those of the donor that stand for them, one to one.

    Raises:
        RequestError: they cannot be matched, or one is out of range.
    """
    places = resolve(each.positions, operands.text.prompt_length, operands.text.length)
    given = each.positions if each.source_positions is None else each.source_positions
    name = "positions on the source" if each.source_positions is None else "source_positions"
    chosen = resolve(given, donor.prompt_length, donor.length, name)
    if each.positions == "all" and given == "all":
        n = min(len(places), len(chosen))
        if n < operands.text.prompt_length:
            operands.say(f"the source has {donor.length} positions: later ones are left as they are")
        places, chosen = places[:n], chosen[:n]
    if len(chosen) == 1:
        chosen = chosen * len(places)
    if len(chosen) != len(places):
        raise RequestError(expected(name, f"{len(places)} positions, or one for all", f"{len(chosen)} positions"))
    return places, chosen
