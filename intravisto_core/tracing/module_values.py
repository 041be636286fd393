"""What a run keeps of any module: its outputs or inputs as they were, joined over the calls of the run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.inspection.hooks import first_argument
from intravisto_core.inspection.paths import find_module
from intravisto_core.models import LoadedModel
from intravisto_core.request.modules import join_path, split_path
from intravisto_core.sites import ModuleSide

# A tensor, a tuple or a list of such things, or None in place of anything else (a cache, a flag).
Value = Any


def find_modules(model: LoadedModel, paths: Sequence[str]) -> dict[str, tuple[nn.Module, ModuleSide]]:
    """The modules that a request names, by path and side as the model writes them.

    Raises:
        RequestError: the model has no such module; the message names the nearest paths.
    """
    found = {}
    for text in paths:
        path, side = split_path(text)
        own, module = find_module(model.network, path)
        found[join_path(own, side)] = (module, side)
    return found


_inside: weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[nn.Module]] = weakref.WeakKeyDictionary()


def needs_all_logits(model: LoadedModel, modules: Mapping[str, tuple[nn.Module, ModuleSide]]) -> bool:
    """Whether one of the modules stands after the layers, where a model may leave all rows but the last one out."""
    if not modules:
        return False
    trunk = model.blueprint.trunk
    if trunk not in _inside:
        _inside[trunk] = weakref.WeakSet(trunk.modules())
    return any(module not in _inside[trunk] for module, _ in modules.values())


def listen(module: nn.Module, side: ModuleSide, visit: Callable[[Any], None]) -> RemovableHandle:
    """Visit a module's first input, or its output, at each call."""
    if side is ModuleSide.INPUT:

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            visit(first_argument(args, kwargs))

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        visit(output)

    return module.register_forward_hook(after)


def copy_value(value: Any) -> Value:
    """A copy that nothing in the run can change any more."""
    return map_tensors(value, lambda x: x.detach().clone())


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Value:
    """The value with each tensor replaced; mappings (a model's own outputs, too) become tuples of their values."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return tuple(map_tensors(v, change) for v in value.values())
    if isinstance(value, list):
        return [map_tensors(v, change) for v in value]
    return tuple(map_tensors(v, change) for v in value) if isinstance(value, tuple) else None


def tensors_of(value: Value) -> Iterator[Tensor]:
    """Every tensor of a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_of(each)


def to_arrays(value: Value) -> Any:
    """The value with float32 arrays in place of tensors."""
    return map_tensors(value, lambda x: x.float().cpu().numpy())


def join_calls(calls: Sequence[Value], counts: Sequence[int]) -> Value:
    """What a module gave in the calls of one run, as one value.

    counts: positions of each call. Tensors lose the batch axis, and are joined along the first axis that has the
    length of every call, where all other axes are equal; where there is none, they become a list, one for each call.
    """
    if all(isinstance(v, Tensor) for v in calls):
        return _join_tensors(calls, counts)
    if all(isinstance(v, tuple) and len(v) == len(calls[0]) for v in calls):
        return tuple(join_calls(parts, counts) for parts in zip(*calls, strict=True))
    return None if all(v is None for v in calls) else list(calls)


def _join_tensors(calls: Sequence[Tensor], counts: Sequence[int]) -> Value:
    if has_batch_axis(calls, counts):
        calls = [x[0] for x in calls]
    if len(calls) == 1:
        return calls[0]
    if len({x.ndim for x in calls}) == 1:
        for axis in range(calls[0].ndim):
            others = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in calls}
            if len(others) == 1 and all(x.shape[axis] == n for x, n in zip(calls, counts, strict=True)):
                return torch.cat(list(calls), axis)
    return list(calls)


def has_batch_axis(calls: Sequence[Tensor], counts: Sequence[int]) -> bool:
    """Whether the first axis is that of the batch, which is 1.

    Some modules (experts) are given rows of positions without one: of two axes the first is then the positions.
    """
    if any(x.ndim == 0 or x.shape[0] != 1 for x in calls):
        return False
    if calls[0].ndim == 2 and calls[0].is_floating_point():
        return any(n > 1 for n in counts)
    return calls[0].ndim > 1
