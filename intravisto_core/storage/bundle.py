"""Arrays in safetensors, and a JSON manifest in its header: a run as a file, or what two programs tell each other.

Every array and the manifest stand with a hash. A file that is cut off, changed, or declares more than it holds is
refused before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from intravisto_core.errors import TraceError, expected
from intravisto_core.files import write_file
from intravisto_core.storage.migrations import SCHEMA, bring_up_to_date

FORMAT = "intravisto"
SUFFIX = ".intravisto"
MOST_MANIFEST_BYTES = 64 << 20
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a file holds. manifest: in today's schema. arrays: by name."""

    manifest: dict[str, Any]
    arrays: Mapping[str, np.ndarray]

    def array(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            TraceError: the file has none of that name.
        """
        if name not in self.arrays:
            raise TraceError(expected("saved run", f"an array {name[:80]!r}", "none of that name"))
        return self.arrays[name]


def write_bundle(path: str | Path, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a bundle beside its place and rename it.

    Raises:
        RequestError: the file has another suffix, or cannot be written.
    """
    return write_file(path, pack_bundle(manifest, arrays))


def pack_bundle(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A bundle as bytes.

    Raises:
        TraceError: there are too many descriptions.
    """
    text = json.dumps({**manifest, "schema": SCHEMA}, separators=(",", ":"), allow_nan=False)
    if len(text) > MOST_MANIFEST_BYTES:
        raise TraceError(expected("saved run", f"at most {MOST_MANIFEST_BYTES >> 20} MB of descriptions", len(text)))
    head = {"format": FORMAT, "manifest": text, "hash": _hash(text, arrays)}
    # safetensors writes the memory as it lies, whatever the strides say
    return save({n: np.ascontiguousarray(a) for n, a in arrays.items()}, metadata=head)


def unpack_bundle(data: bytes, name: str) -> Bundle:
    """What `pack_bundle` made. name: what a message calls it.

    Raises:
        TraceError: it is none, is cut off or changed, or is of a newer schema.
    """
    try:
        arrays = load(data)
        head = read_head(data)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise TraceError(f"{name}: expected what InTraVisTo wrote; got something else")
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, MemoryError, RecursionError) as error:
        raise TraceError(f"{name}: expected what InTraVisTo wrote; it is damaged or something else: {error}") from None
    text = str(head.get("manifest", ""))
    if head.get("hash") != _hash(text, arrays):
        raise TraceError(f"{name}: expected the content that was written; its hash differs: it was changed or cut")
    return Bundle(bring_up_to_date(_parse(text, name)), arrays)


def read_head(data: bytes) -> Any:
    """The texts in the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__", {})


def read_bundle(path: str | Path, most_bytes: int | None = None) -> Bundle:
    """Read a bundle and check it. most_bytes: a larger file is refused unread.

    Raises:
        TraceError: there is no such file, it is too large, damaged, of another kind, or of a newer schema.
    """
    place = Path(path).expanduser()
    try:
        size = place.stat().st_size
        if not place.is_file():
            raise TraceError(expected(str(place), "a saved run", "a folder" if place.is_dir() else "no ordinary file"))
        if most_bytes is not None and size > most_bytes:
            raise TraceError(expected(str(place), f"a file of at most {most_bytes >> 20} MB", f"{size >> 20} MB"))
        with safe_open(str(place), framework="numpy") as file:
            head = file.metadata() or {}
            if head.get("format") != FORMAT:
                raise TraceError(f"{place}: expected a run that InTraVisTo saved; this is another kind of file")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except OSError as error:
        raise TraceError(expected(str(place), "a file that can be read", error.strerror or str(error))) from None
    except (SafetensorError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise TraceError(f"{place}: expected a saved run; the file is damaged or of another kind: {error}") from None
    text = head.get("manifest", "")
    if head.get("hash") != _hash(text, arrays):
        raise TraceError(f"{place}: expected the content that was saved; its hash differs: the file was changed or cut")
    return Bundle(bring_up_to_date(_parse(text, str(place))), arrays)


def _parse(text: str, place: str) -> dict[str, Any]:
    if len(text) > MOST_MANIFEST_BYTES:
        raise TraceError(expected(place, f"at most {MOST_MANIFEST_BYTES >> 20} MB of descriptions", len(text)))
    try:
        manifest = json.loads(text, parse_constant=_refuse_constant)
        shallow = is_shallow(manifest, DEEPEST)
    except (ValueError, RecursionError):
        manifest, shallow = None, False
    if not isinstance(manifest, dict) or not shallow:
        raise TraceError(f"{place}: expected a manifest in JSON, nested at most {DEEPEST} deep; got something else")
    return manifest


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def is_shallow(value: Any, most: int) -> bool:
    """Whether lists and objects are nested at most so deep."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return most > 0 and all(is_shallow(each, most - 1) for each in inner)


def _hash(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Of the manifest and of every array with its name, type and shape."""
    digest = hashlib.sha256(text.encode("utf-8", "replace"))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name}\n{array.dtype.str}\n{array.shape}\n".encode("utf-8", "replace"))
        digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
