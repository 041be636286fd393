"""Values that go in and out of modules, whatever they are made of: their tensors, and their shapes as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from intravisto_core.records import ValueShape

DEEPEST = 6
MOST_ITEMS = 32
_PLAIN = frozenset((int, float, bool, str, slice))


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Every tensor of a value: in lists, tuples, dicts and dataclasses, one in another."""
    found: list[Tensor] = []
    _collect(value, depth, found)
    return iter(found)


def _collect(value: Any, depth: int, found: list[Tensor]) -> None:
    # called for everything that any function of torch is given: the usual kinds come first
    if isinstance(value, Tensor):
        found.append(value)
        return
    kind = type(value)
    if depth >= DEEPEST or value is None or kind in _PLAIN:
        return
    if kind is tuple or kind is list:
        items: Iterable[Any] = value
    elif kind is dict:
        items = value.values()
    else:
        items = [item for _, item in _items(value)]
    for item in items:
        _collect(item, depth + 1, found)


def read_shape(value: Any, n_tokens: int | None = None, depth: int = 0) -> ValueShape:
    """The shapes of a value as a tree. n_tokens: tokens of the text; the dimension of that many entries is marked."""
    if isinstance(value, Tensor):
        shape = tuple(value.shape)
        return ValueShape("tensor", shape, str(value.dtype).removeprefix("torch."), _token_axis(shape, n_tokens))
    kind = type(value).__name__
    items = _items(value) if depth < DEEPEST else []
    # of many numbers in a row nothing is to be learnt
    if len(items) > MOST_ITEMS or not any(True for _ in tensors_in(value, depth)):
        return ValueShape(kind)
    return ValueShape(kind, items=tuple((name, read_shape(item, n_tokens, depth + 1)) for name, item in items))


def _items(value: Any) -> list[tuple[str, Any]]:
    """What a value holds, by name or number."""
    # most values are these, and to ask whether one is a mapping costs more than all the rest
    if value is None or isinstance(value, str | int | float):
        return []
    if isinstance(value, Mapping):
        return [(str(name), item) for name, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=False))
    if isinstance(value, list | tuple):
        return [(str(i), item) for i, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name, None)) for f in fields(value)]
    return []


def _token_axis(shape: tuple[int, ...], n_tokens: int | None) -> int | None:
    """The first dimension after the batch that counts tokens; the batch's own where it and they lie in one."""
    if n_tokens is None or (len(shape) < 2 and shape != (n_tokens,)):
        return None
    return next((i for i in (*range(1, len(shape) - 1), 0, len(shape) - 1) if shape[i] == n_tokens), None)


def find_ids(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Token ids among the arguments: whole numbers, (batch, tokens), by their usual name or as the first argument."""
    found = kwargs.get("input_ids", args[0] if args else None)
    if isinstance(found, Tensor) and found.ndim == 2 and found.dtype in (torch.int64, torch.int32):
        return found
    return None


def find_kinds(shape: ValueShape) -> tuple[Any, ...]:
    """A value without its sizes: what decides which way the code takes."""
    return (shape.kind, len(shape.shape), shape.dtype, tuple((name, find_kinds(item)) for name, item in shape.items))
