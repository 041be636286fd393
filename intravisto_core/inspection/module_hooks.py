"""`with inspector.hook() as h:` functions around modules, for whatever is run inside the block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from intravisto_core.errors import RequestError, expected
from intravisto_core.inspection.hooks import Handles, first_argument, with_first_argument
from intravisto_core.inspection.paths import find_module


class ModuleHooks(Handles):
    """Functions before and after modules; all of them are gone at the end of the `with` block."""

    def __init__(self, root: nn.Module, acts: Callable[[], bool] = lambda: True) -> None:
        """acts: whether the functions are called now; of a module that others use too, in its own runs alone."""
        super().__init__()
        self._root, self._acts = root, acts
        self._left = False

    def pre(self, path: str, fn: Callable[..., Any]) -> ModuleHooks:
        """Call `fn(module, input)` before each call of a module; input is the tuple of what it is given.

        What the function returns (a tuple, or the first input alone) is what the module gets; None changes nothing.

        Raises:
            RequestError: there is no such module; the message names the nearest paths.
        """

        def call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            found = fn(module, args or (first_argument(args, kwargs),)) if self._acts() else None
            if found is None:
                return None
            if args:
                return (found if isinstance(found, tuple) else (found, *args[1:])), kwargs
            return with_first_argument(args, kwargs, found[0] if isinstance(found, tuple) else found)

        self.extend([self._module(path, fn).register_forward_pre_hook(call, with_kwargs=True)])
        return self

    def post(self, path: str, fn: Callable[..., Any]) -> ModuleHooks:
        """Call `fn(module, input, output)` after each call of a module; what it returns takes the output's place.

        Raises:
            RequestError: there is no such module; the message names the nearest paths.
        """

        def call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            return fn(module, args or (first_argument(args, kwargs),), output) if self._acts() else None

        self.extend([self._module(path, fn).register_forward_hook(call, with_kwargs=True)])
        return self

    def _module(self, path: str, fn: Callable[..., Any]) -> nn.Module:
        if self._left:
            raise RequestError("hook: expected to be used inside its `with` block; got a function after it has ended")
        if not callable(fn):
            raise RequestError(expected("fn", "a function of module and input, and after it of output", fn))
        return find_node(self._root, path)[1]

    def __exit__(self, *error: Any) -> None:
        """Take all of them off."""
        self._left = True
        super().__exit__(*error)


def find_node(root: nn.Module, path: str) -> tuple[str, nn.Module]:
    """A module and its path; "" is the root.

    Raises:
        RequestError: there is no such module; the message names the nearest paths.
    """
    if not isinstance(path, str):
        raise RequestError(expected("path", "the path of a module", path))
    return ("", root) if not path else find_module(root, path)


def find_listed(root: nn.Module, path: str) -> tuple[str, ...]:
    """The path as the model writes it; of a list of modules the paths of all of them.

    Raises:
        RequestError: there is no such module.
    """
    own, module = find_node(root, path)
    listed = isinstance(module, nn.ModuleList | nn.ModuleDict)
    return tuple(f"{own}.{name}" for name, _ in module.named_children()) if listed else (own,)
