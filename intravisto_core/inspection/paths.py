"""Modules of a model by their paths: a negative number counts from the last, and a wrong path names the nearest."""

from __future__ import annotations

from difflib import get_close_matches

from torch import nn

from intravisto_core.errors import RequestError

MOST_NAMED = 3


def find_module(root: nn.Module, path: str) -> tuple[str, nn.Module]:
    """A module and its path as the model itself writes it: `layers.-1` becomes the number of the last layer.

    Raises:
        RequestError: there is none of that path; the message names the nearest ones.
    """
    module, own = root, []
    for part in path.split("."):
        children = dict(module.named_children())
        name = _counted(part, len(children)) if part not in children else part
        if name not in children:
            raise RequestError(_unknown(root, path))
        module = children[name]
        own.append(name)
    return ".".join(own), module


def _counted(part: str, n: int) -> str:
    """A negative number as one from 0; anything else as it is."""
    digits = part.removeprefix("-")
    return str(n - int(digits)) if part != digits and digits.isdecimal() and len(digits) < 9 else part


def _unknown(root: nn.Module, path: str) -> str:
    paths = [name for name, _ in root.named_modules(remove_duplicate=False) if name]
    near = get_close_matches(path, paths, MOST_NAMED, cutoff=0.0)
    return (
        f"module: expected the path of a module of this model; got {path[:120]!r}. The nearest: {', '.join(near)}. "
        "All paths: the model's own `named_modules()`"
    )
