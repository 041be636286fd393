"""Hooks on any module: its first input and its output as tensors, read or replaced, and taken off whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

# What becomes of a tensor on its way; None leaves it as it is.
Visit = Callable[[Tensor], Tensor | None]


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A module's first input, by position or by name."""
    x: Tensor = args[0] if args else kwargs["hidden_states"]
    return x


def with_first_input(args: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor) -> tuple[Any, dict[str, Any]]:
    """A module's arguments with another first input."""
    return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What any module is given first, whatever it is called; None where it is given nothing."""
    if args or "hidden_states" in kwargs:
        return first_input(args, kwargs)
    return next(iter(kwargs.values()), None)


def with_first_argument(args: tuple[Any, ...], kwargs: dict[str, Any], x: Any) -> tuple[Any, dict[str, Any]]:
    """A module's arguments with another one in the first's place."""
    if args or "hidden_states" in kwargs:
        return with_first_input(args, kwargs, x)
    return args, {**kwargs, **dict.fromkeys(list(kwargs)[:1], x)}


def output_of(output: Any) -> Tensor:
    """A module's output; of several the first."""
    x: Tensor = output[0] if isinstance(output, tuple) else output
    return x


def with_output(output: Any, x: Tensor) -> Any:
    """A module's output with another tensor in place of its (first) one."""
    return (x, *output[1:]) if isinstance(output, tuple) else x


def on_input(module: nn.Module, visit: Visit) -> RemovableHandle:
    """Before each call of a module: its first input is visited, and replaced by what the visit gives."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        new = visit(first_input(args, kwargs))
        return None if new is None else with_first_input(args, kwargs, new)

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def on_output(module: nn.Module, visit: Visit) -> RemovableHandle:
    """After each call of a module: its output is visited, and replaced by what the visit gives."""

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        new = visit(output_of(output))
        return None if new is None else with_output(output, new)

    return module.register_forward_hook(hook)


class Handles(AbstractContextManager["Handles"]):
    """Hooks that are there until the end of a `with` block."""

    def __init__(self, handles: Iterable[RemovableHandle] = ()) -> None:
        self._handles: list[RemovableHandle] = []
        self.extend(handles)

    def extend(self, handles: Iterable[RemovableHandle]) -> None:
        """Take over more of them, one by one: where making one fails, those before it are removed all the same."""
        for handle in handles:
            self._handles.append(handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take all of them off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
