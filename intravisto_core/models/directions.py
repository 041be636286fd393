"""A library of concept directions: one safetensors file each, by name (docs/methods.md §8)."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import ConceptDirection

SUFFIX = ".direction.safetensors"
_NAME = re.compile(r"[\w][\w .,()+-]{0,79}")


def save(direction: ConceptDirection, folder: str | Path) -> Path:
    """Write a direction under its name; one of the same name is replaced.

    Raises:
        RequestError: the name is none that a file can have, or the folder cannot be written to.
    """
    path = _path(direction.name, folder)
    facts = {f.name: str(getattr(direction, f.name)) for f in fields(direction) if f.name != "vector"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"vector": np.ascontiguousarray(direction.vector, dtype=np.float32)}, path, metadata=facts)
    except OSError as error:
        raise RequestError(f"{path}: expected a file that can be written; got {error.strerror}") from None
    return path


def load(name: str, folder: str | Path) -> ConceptDirection:
    """The direction of that name.

    Raises:
        RequestError: there is none (the message lists those that are), or the file is damaged.
    """
    path = _path(name, folder)
    if not path.is_file():
        raise RequestError(expected("direction", names(folder) or "a saved one; none is", name))
    try:
        with safe_open(path, framework="np") as file:
            facts, vector = file.metadata() or {}, file.get_tensor("vector")
        found = ConceptDirection(
            name=name,
            vector=vector.astype(np.float32),
            made_of=facts["made_of"],
            model=facts["model"],
            strength=float(facts["strength"]),
            site=facts["site"],
            layer=int(facts["layer"]),
        )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RequestError(
            f"{path}: expected a saved direction; the file is damaged ({error}). Save it again"
        ) from None
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise RequestError(f"{path}: expected one row of finite numbers. Save the direction again")
    return found


def names(folder: str | Path) -> tuple[str, ...]:
    """The saved directions, sorted."""
    return tuple(sorted(p.name.removesuffix(SUFFIX) for p in Path(folder).glob(f"*{SUFFIX}")))


def _path(name: str, folder: str | Path) -> Path:
    if not _NAME.fullmatch(name):
        allowed = "letters, digits, spaces and . , ( ) + -, at most 80, beginning with a letter or digit"
        raise RequestError(expected("direction's name", allowed, name))
    return Path(folder) / f"{name}{SUFFIX}"
