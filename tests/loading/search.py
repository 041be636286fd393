"""Whether a secret can be found: in texts, in files, in errors, and in all that an object holds."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, ModuleType


def in_files(secret: str, folder: Path) -> list[str]:
    """Files of a folder whose content or name holds it."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return [str(p) for p in files if secret in str(p) or secret.encode() in p.read_bytes()]


def of_error(error: BaseException) -> str:
    """All that a log would show of an error: message, causes, traceback."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def in_objects(secret: str, *roots: object) -> list[str]:
    """Strings that hold it and are reached from these objects, not by way of modules, classes and running code."""
    found, seen, to_do = [], set(), list(roots)
    while to_do:
        thing = to_do.pop()
        if id(thing) in seen or isinstance(thing, ModuleType | FrameType | type) or _is_code(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, str | bytes):
            if secret in (thing if isinstance(thing, str) else thing.decode("latin-1")):
                found.append(repr(thing))
        else:
            to_do += gc.get_referents(thing)
    return found


def _is_code(thing: object) -> bool:
    """The names of a module, which every function of it refers to."""
    return isinstance(thing, dict) and "__builtins__" in thing


def nowhere(secret: str, texts: Iterable[str] = (), objects: Iterable[object] = (), folder: Path | None = None) -> None:
    """Assert that it is in none of these."""
    for text in texts:
        at = text.find(secret)
        assert at < 0, f"found in: {text[max(0, at - 200) : at + 100]}"
    held = in_objects(secret, *objects)
    assert not held, held
    written = [] if folder is None else in_files(secret, folder)
    assert not written, written
