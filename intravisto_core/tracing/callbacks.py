"""Callbacks of the user's own around modules, for any number of runs: before a module is called, or after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.errors import Cancelled, TraceError, describe_error
from intravisto_core.inspection.hooks import first_argument, with_first_argument
from intravisto_core.tracing.functions import fit_returned, line_of
from intravisto_core.tracing.module_values import map_tensors, tensors_of


@dataclass(frozen=True, slots=True)
class Callback:
    """One of them. before: `fn(module, input)`, input being the tuple of what the module is given; else
    `fn(module, input, output)`. What it returns takes the place of input or output; None leaves it."""

    path: str
    module: nn.Module
    fn: Callable[..., Any]
    before: bool


class Noticing(Protocol):
    """The run that callbacks act in: whether it is its turn, and what they changed in it."""

    active: bool
    changed_by: set[str]


def callback_hook(sink: Noticing, callback: Callback) -> RemovableHandle:
    """The hook of a callback; it acts while the sink is active, and tells it of changes, in place too."""

    who = f"hook {'before' if callback.before else 'after'} {callback.path}: expected the function"

    def call(*given: Any) -> Any:
        before = _versions(given)
        try:
            found = callback.fn(callback.module, *given)
        except Cancelled:
            raise
        except BaseException as error:  # exit() too: it would end the thread that all wait for
            side = "before" if callback.before else "after"
            raise TraceError(
                f"hook {side} {callback.path}: the function failed{line_of(error, callback.fn)}: "
                + describe_error(error)
            ) from error
        if found is not None or _versions(given) != before:
            sink.changed_by.add(callback.path)
        return found

    def pre(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not sink.active:
            return None
        given = args or (first_argument(args, kwargs),)
        found = call(given)
        if found is None:
            return None
        new = fit_returned(found if isinstance(found, tuple) else (found, *given[1:]), given, who)
        return (new, kwargs) if args else with_first_argument(args, kwargs, new[0])

    def post(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        found = call(args or (first_argument(args, kwargs),), output) if sink.active else None
        return None if found is None else fit_returned(found, output, who)

    if callback.before:
        return callback.module.register_forward_pre_hook(pre, with_kwargs=True)
    return callback.module.register_forward_hook(post, with_kwargs=True)


def _versions(values: tuple[Any, ...]) -> list[int]:
    """A count of the changes in place of every tensor."""
    return [x._version for x in tensors_of(map_tensors(values, _same))]


def _same(x: Tensor) -> Tensor:
    return x
