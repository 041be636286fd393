"""Modules that a request names: a path in the model's own tree, and which side of the module is meant."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.request.checks import check
from intravisto_core.request.fields import list_of
from intravisto_core.sites import ModuleSide

LONGEST_PATH = 300


def split_path(text: str) -> tuple[str, ModuleSide]:
    """`model.norm:input` as path and side; without a side the output is meant.

    Raises:
        RequestError: another side.
    """
    path, colon, side = text.partition(":")
    return path, ModuleSide.parse(side, "module") if colon else ModuleSide.OUTPUT


def join_path(path: str, side: ModuleSide) -> str:
    """Path and side as one text; the output is not written."""
    return path if side is ModuleSide.OUTPUT else f"{path}:{side}"


def read_path(value: Any, name: str) -> str:
    """The path of a module, with or without its side, in one form."""
    allowed = 'the path of a module, such as "model.layers.3.mlp" or "model.layers.-1.mlp:input"'
    check(isinstance(value, str) and 0 < len(value) <= LONGEST_PATH, name, allowed, value)
    path, side = split_path(value)
    check(all(path.split(".")), name, allowed, value)
    return join_path(path, side)


def read_paths(value: Any, name: str) -> tuple[str, ...]:
    """Several of them, each once; one alone counts as a list of one."""
    return tuple(dict.fromkeys(read_path(each, name) for each in list_of(value)))


ModulePath = Annotated[str, read_path]
ModulePaths = Annotated[tuple[str, ...], read_paths]
