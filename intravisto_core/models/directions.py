"""A library of concept directions: one safetensors file each, by name (docs/methods.md §8)."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as packed

from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.files import write_file
from intravisto_core.records import ConceptDirection

SUFFIX = ".direction.safetensors"
MOST_BYTES = 1_000_000
_NAME = re.compile(r"[\w][\w .,()+-]{0,79}")


def save(direction: ConceptDirection, folder: str | Path) -> Path:
    """Write a direction under its name; one of the same name is replaced.

    Raises:
        RequestError: the name is none that a file can have, or the folder cannot be written to.
    """
    path = _path(direction.name, folder)
    with suppress(OSError):  # writing says why
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, written(direction))


def written(direction: ConceptDirection) -> bytes:
    """The file of a direction."""
    facts = {f.name: str(getattr(direction, f.name)) for f in fields(direction) if f.name != "vector"}
    return packed({"vector": np.ascontiguousarray(direction.vector, dtype=np.float32)}, metadata=facts)


def load(name: str, folder: str | Path) -> ConceptDirection:
    """The direction of that name.

    Raises:
        RequestError: there is none (the message lists those that are), or the file is damaged.
    """
    path = _path(name, folder)
    if not path.is_file():
        raise RequestError(expected("direction", names(folder) or "a saved one; none is", name))
    return _opened(path, str(path), name)


def read(body: bytes, d_model: int) -> ConceptDirection:
    """The direction of such a file, for a model whose stream has that width.

    Raises:
        RequestError: the file is too large, damaged, or of another width; its name is none that a direction can have.
    """
    if len(body) > MOST_BYTES:
        raise RequestError(f"direction: expected a file of at most {MOST_BYTES:,} bytes; got one of {len(body):,}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direction"
        path.write_bytes(body)
        found = _opened(path, "direction")
    check_name(found.name)
    if len(found.vector) != d_model:
        raise RequestError(
            f"direction: expected {d_model} numbers, the width of this model's stream; got {len(found.vector)}. "
            f"“{found.name}” was made on {found.model or 'another model'}"
        )
    return found


def names(folder: str | Path) -> tuple[str, ...]:
    """The saved directions, sorted."""
    return tuple(sorted(p.name.removesuffix(SUFFIX) for p in Path(folder).glob(f"*{SUFFIX}")))


def check_name(name: str) -> None:
    """Refuse a name that a file could not have.

    Raises:
        RequestError: it is such a name.
    """
    if not _NAME.fullmatch(name):
        allowed = "letters, digits, spaces and . , ( ) + -, at most 80, beginning with a letter or digit"
        raise RequestError(expected("direction's name", allowed, name))


def _opened(path: Path, called: str, name: str = "") -> ConceptDirection:
    """The direction in a file. called: what messages call it. name: "" is the one that is written in it."""
    try:
        # a number too large for float32 becomes infinite, and is refused as that
        with safe_open(path, framework="np") as file, np.errstate(over="ignore"):
            facts, vector = file.metadata() or {}, file.get_tensor("vector").astype(np.float32)
        found = ConceptDirection(
            name=name or facts["name"],
            vector=vector,
            made_of=facts["made_of"],
            model=facts["model"],
            strength=float(facts["strength"]),
            site=facts["site"],
            layer=int(facts["layer"]),
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, IntravistoError) as error:
        raise RequestError(
            f"{called}: expected a saved direction; the file is damaged ({error}). Save it again"
        ) from None
    if not (np.isfinite(vector).all() and np.isfinite(found.strength) and vector.any()):
        raise RequestError(f"{called}: expected one row of finite numbers, not all 0. Save the direction again")
    return found


def _path(name: str, folder: str | Path) -> Path:
    check_name(name)
    return Path(folder) / f"{name}{SUFFIX}"
