"""What is measured of a tensor at a module's side (docs/methods.md §12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intravisto_core.errors import RequestError, expected
from intravisto_core.inspection.values import tensors_in
from intravisto_core.records import ModuleOutput
from intravisto_core.records.module_run import check_axes
from intravisto_core.sites import ModuleSide, ModuleStatistic

N_BINS = 40
MOST_SIDE = 512
# positions whose tokens are read, the last ones; queries and keys of attention, the first ones
MOST_READ, MOST_ATTENDED = 64, 128
TOP = 5
ROUNDING = 1e-2


@dataclass(frozen=True, slots=True)
class Block:
    """What is measured of one side of a module in every run. x, y, spread: dimensions of a matrix; None is a default.

    A matrix has the last dimension along x and the one before it along y; of four or more the first but one is spread.
    """

    path: str
    statistic: ModuleStatistic
    what: ModuleSide = ModuleSide.OUTPUT
    x: int | None = None
    y: int | None = None
    spread: int | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How vectors are read as tokens.

    logits: scores (n, V) of vectors (n, d), float32; None where vectors of that width are not read. show: how a token
    id is written.
    """

    logits: Callable[[Tensor], Tensor | None]
    show: Callable[[int], str]


def measure(
    block: Block,
    value: Any,
    model: str = "",
    tokens: tuple[str, ...] = (),
    trace: str = "",
    vocabulary: Vocabulary | None = None,
) -> ModuleOutput | None:
    """The record of a block; None where the value holds no tensor.

    value: what the module gave, or was given.

    Raises:
        RequestError: the value is nothing that this statistic is of.
    """
    tensor = next(tensors_in(value), None)
    if tensor is None:
        return None
    if block.statistic is ModuleStatistic.ATTENTION:
        tensor = _attention_in(block, value)
    values = tensor.detach().to(torch.float32) if not tensor.is_complex() else tensor.detach().abs().float()
    shape = tuple(tensor.shape)
    record = ModuleOutput(trace, block.path, block.what, block.statistic, shape, _NOTHING, model=model, tokens=tokens)
    match block.statistic:
        case ModuleStatistic.SUMMARY:
            return replace(record, values=_summary(values))
        case ModuleStatistic.SIZE:
            return replace(record, values=(values.norm(dim=-1) if values.ndim else values.abs()).cpu().numpy())
        case ModuleStatistic.HISTOGRAM:
            found, edges = _histogram(values)
            return replace(record, values=found, edges=edges)
        case ModuleStatistic.MATRIX:
            axes = _axes(block, values.ndim)
            return replace(record, values=_matrix(values, *axes), axes=axes)
        case ModuleStatistic.TOKENS:
            return _read_tokens(record, values, vocabulary)
        case ModuleStatistic.ATTENTION:
            first = values[0] if values.ndim == 4 else values
            n = values.ndim
            cut = first[:, :MOST_ATTENDED, :MOST_ATTENDED].cpu().numpy()
            return replace(record, values=cut, axes=(n - 1, n - 2, n - 3))


_NOTHING = np.zeros(6, dtype=np.float32)


def _attention_in(block: Block, value: Any) -> Tensor:
    """The attention weights among what a module gives: after its output, rows that sum to 1, or less."""
    for tensor in list(tensors_in(value))[1:]:
        if tensor.ndim in (3, 4) and tensor.is_floating_point() and tensor.numel():
            sums = tensor.detach().sum(-1)
            if bool((tensor >= 0).all()) and bool((sums <= 1 + ROUNDING).all()):
                return tensor
    raise RequestError(
        expected("attention", "a module that gives its attention weights beside its output", block.path or "the whole")
        + '. Name an attention module; a model of transformers gives them with attn_implementation="eager"'
    )


def _read_tokens(record: ModuleOutput, values: Tensor, vocabulary: Vocabulary | None) -> ModuleOutput:
    """The likeliest tokens of the last positions of the first text."""
    if vocabulary is None:
        raise RequestError(
            expected("tokens", "a model that open_model opened, whose vectors can be read", "a module alone")
        )
    rows = values.reshape(-1, *values.shape[-2:])[0] if values.ndim > 1 else values.reshape(1, -1)
    first = max(0, len(rows) - MOST_READ)
    logits = vocabulary.logits(rows[first:])
    if logits is None:
        given = f"{tuple(values.shape)} at {record.path or 'the whole'}"
        raise RequestError(expected("tokens", "vectors as wide as the stream, or scores of all tokens", given))
    top = logits.float().softmax(-1).topk(min(TOP, logits.shape[-1]), -1)
    ids = top.indices.cpu().numpy()
    shown = {int(i): vocabulary.show(int(i)) for i in np.unique(ids)}
    return replace(record, values=top.values.cpu().numpy(), token_ids=ids, shown=shown, first=first)


def join(before: ModuleOutput, after: ModuleOutput) -> ModuleOutput:
    """What two calls gave, one after the other: numbers by position stand in a row; of all else the later one."""
    same = before.values.ndim == after.values.ndim > 0 and before.shape[-1] == after.shape[-1]
    if not same:
        return after
    if after.statistic is ModuleStatistic.SIZE and before.values.shape[:-1] == after.values.shape[:-1]:
        return replace(after, values=np.concatenate([before.values, after.values], -1))
    if after.statistic is ModuleStatistic.TOKENS and before.token_ids is not None and after.token_ids is not None:
        values = np.concatenate([before.values, after.values])
        ids = np.concatenate([before.token_ids, after.token_ids])
        cut = max(0, len(values) - MOST_READ)
        shown = {**before.shown, **after.shown}
        shown = {int(i): shown[int(i)] for i in np.unique(ids[cut:])}
        first = before.first + cut
        return replace(after, values=values[cut:], token_ids=ids[cut:], shown=shown, first=first)
    return after


def _summary(values: Tensor) -> np.ndarray:
    finite = values[values.isfinite()]
    n = max(values.numel(), 1)
    zeros, lost = float((values == 0).sum()) / n, float(values.numel() - finite.numel())
    if not finite.numel():
        return np.array([np.nan] * 4 + [zeros, lost], dtype=np.float32)
    parts = [finite.mean(), finite.std(correction=0), finite.min(), finite.max()]
    return np.array([*(float(part) for part in parts), zeros, lost], dtype=np.float32)


def _histogram(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the finite values in equal bins from the least to the largest."""
    finite = values[values.isfinite()].flatten().cpu().numpy()
    if not len(finite):
        return np.zeros(N_BINS, dtype=np.float32), np.linspace(0, 1, N_BINS + 1, dtype=np.float32)
    counts, edges = np.histogram(finite, N_BINS)
    return counts.astype(np.float32), edges.astype(np.float32)


def _axes(block: Block, ndim: int) -> tuple[int, int | None, int | None]:
    if not ndim:
        raise RequestError(expected("matrix", "a tensor of at least one dimension", f"one number at {block.path}"))
    x = ndim - 1 if block.x is None else block.x % ndim if -ndim <= block.x < ndim else block.x
    free = [axis for axis in range(ndim) if axis not in (x, block.spread)]
    y = (free[-1] if free else None) if block.y is None else block.y
    spread = block.spread if block.spread is not None or ndim < 4 else next((a for a in free[1:] if a != y), None)
    check_axes(ndim, x, y, spread)
    return x, y, spread


def _matrix(values: Tensor, x: int, y: int | None, spread: int | None) -> np.ndarray:
    """(spread, y, x): the chosen dimensions, the mean over the others; of long ones the first entries."""
    chosen = [axis for axis in (spread, y, x) if axis is not None]
    others = [axis for axis in range(values.ndim) if axis not in chosen]
    mean = values.mean(dim=others, keepdim=True) if others else values
    ordered = mean.permute(*others, *chosen)[(0,) * len(others)]
    for _ in range(3 - len(chosen)):
        ordered = ordered[None]
    return ordered[tuple(slice(MOST_SIDE) for _ in range(3))].cpu().numpy()
