"""The header of a GGUF file: its metadata, and where each tensor lies. Every count in it is checked before it is used.

The layout is that of versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md), in little-endian order.
"""

from __future__ import annotations

import io
import math
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from intravisto_core.errors import MissingProgramError, ModelError
from intravisto_core.models.files.checkpoint import TensorHeader

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ARCHITECTURE = "general.architecture"
ALIGNMENT = 32
# what no real file comes near: these stop a damaged one before it costs memory or minutes
MOST_KEYS, MOST_TENSORS, MOST_DIMENSIONS = 1 << 16, 1 << 16, 4
MOST_ELEMENTS, MOST_TEXT, MOST_NAME = 1 << 22, 1 << 26, 1 << 16
KEPT_ELEMENTS = 1 << 12
# of a header that is fetched, which holds the vocabulary
FIRST_PIECE, LARGEST_HEADER = 1 << 20, 1 << 27
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


class Incomplete(ValueError):
    """The header goes on beyond what there is of it."""


@dataclass(frozen=True, slots=True)
class ArrayLength:
    """A long array, or one of texts, of which only the number of elements was kept."""

    n: int


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor of a file. shape: as torch writes it. kind: of quantisation, as llama.cpp names it. nbytes: in the
    file, from `start` bytes behind the header on."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    nbytes: int

    @property
    def numel(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a file says of itself. data_start: where the tensors begin, in bytes. nbytes: of the whole file."""

    metadata: dict[str, Any]
    tensors: tuple[GgufTensor, ...]
    data_start: int
    nbytes: int

    @property
    def architecture(self) -> str:
        """As llama.cpp names it, or ""."""
        found = self.metadata.get(ARCHITECTURE)
        return found if isinstance(found, str) else ""

    @property
    def kinds(self) -> dict[str, int]:
        """How many tensors there are of each kind of quantisation, the most frequent first."""
        return dict(Counter(t.kind for t in self.tensors).most_common())

    def plain_tensors(self) -> list[TensorHeader]:
        """The tensors with the dtypes of safetensors, for what is reckoned from sizes alone."""
        return [TensorHeader(t.name, t.shape, t.kind) for t in self.tensors]


def require_package(what: str) -> None:
    """Raises:
    MissingProgramError: the package gguf is not installed.
    """
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingProgramError(
            f"{what}: expected the package gguf; it is not installed. Install it (pip install 'intravisto[gguf]'), or "
            "choose the original model"
        ) from None


def read_header(file: Path, name: str = "") -> GgufHeader:
    """Read the header of a file. name: what messages call it.

    Raises:
        ModelError: it is no GGUF file, is damaged, or its end is missing.
        MissingProgramError: the package gguf, which knows the kinds of quantisation, is not installed.
    """
    name = name or file.name
    require_package(name)
    try:
        nbytes = file.stat().st_size
        with file.open("rb") as stream:
            return parse(stream, nbytes)
    except OSError as error:
        raise ModelError(f"{name}: expected a file that can be read ({error.strerror}). Check the path") from error
    except (ValueError, struct.error) as error:
        raise ModelError(damaged(name, error)) from error


def read_begun(fetch: Callable[[int, int], bytes], nbytes: int, name: str) -> GgufHeader:
    """Read the header of a file elsewhere, which does not say how long it is: its beginning, in growing pieces.

    fetch: the bytes from a start up to, not with, a stop. nbytes: of the file. name: what messages call it.

    Raises:
        ModelError: see `read_header`.
    """
    require_package(name)
    begun, wanted = b"", FIRST_PIECE
    while True:
        until = min(wanted, nbytes)
        begun += fetch(len(begun), until)
        try:
            return parse(io.BytesIO(begun), nbytes)
        except Incomplete as error:
            if until >= min(nbytes, LARGEST_HEADER):
                raise ModelError(damaged(name, error)) from error
        except (ValueError, struct.error) as error:
            raise ModelError(damaged(name, error)) from error
        wanted *= 4


def damaged(name: str, error: Exception) -> str:
    """What to say of a file that cannot be read as GGUF."""
    return f"{name}: expected a GGUF file; it is damaged or something else ({error}). Download or copy it again"


def peek_architecture(file: Path) -> str:
    """The architecture that a file names among its first keys, or "" where it does not, or is no GGUF file."""
    try:
        with file.open("rb") as stream:
            reader = _Reader(stream, file.stat().st_size)
            _, n_keys = _counts(reader)
            for _ in range(min(n_keys, 16)):
                key, value = _pair(reader)
                if key == ARCHITECTURE:
                    return value if isinstance(value, str) else ""
    except (OSError, ValueError, struct.error):
        pass
    return ""


def parse(stream: BinaryIO, nbytes: int) -> GgufHeader:
    """The header at the beginning of a stream. nbytes: of the whole file, of which the stream may hold less.

    Raises:
        Incomplete: the stream ends before the header does.
        ValueError: what is there is not a header, or does not fit the file.
    """
    reader = _Reader(stream, nbytes)
    n_tensors, n_keys = _counts(reader)
    metadata: dict[str, Any] = {}
    for _ in range(n_keys):
        key, value = _pair(reader)
        if key in metadata:
            raise ValueError(f"the key {key} is there twice")
        metadata[key] = value
    entries = [_entry(reader) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not (isinstance(alignment, int) and 8 <= alignment <= 1 << 16 and alignment & (alignment - 1) == 0):
        raise ValueError(f"its alignment of {alignment!r} is no power of two from 8 to 65,536")
    data_start = -(-reader.at // alignment) * alignment
    tensors = tuple(_tensor(*entry) for entry in entries)
    _check_places(tensors, alignment, nbytes - data_start, nbytes)
    return GgufHeader(metadata, tensors, data_start, nbytes)


class _Reader:
    """Takes numbers and texts off a stream, none of them larger than the file."""

    def __init__(self, stream: BinaryIO, nbytes: int) -> None:
        self._stream, self._nbytes = stream, nbytes
        self.at = 0

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        if self.at + n > self._nbytes:
            raise Incomplete(f"a part of {n:,} bytes at {self.at:,} lies beyond its end at {self._nbytes:,}")
        found = self._stream.read(n)
        if len(found) < n:
            raise Incomplete(f"it ends at {self.at + len(found):,} bytes, within its header")
        self.at += n
        return found

    def number(self, code: str) -> Any:
        """One number by its code of `struct`."""
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self, most: int = MOST_TEXT) -> str:
        """One text."""
        length = self.number("Q")
        if length > most:
            raise ValueError(f"a text of {length:,} bytes at {self.at:,}")
        return self.take(length).decode("utf-8")


def _counts(reader: _Reader) -> tuple[int, int]:
    """How many tensors and keys there are."""
    if (begins := reader.take(4)) != MAGIC:
        raise ValueError(f"it begins with {begins!r} instead of {MAGIC!r}")
    version = reader.number("I")
    if version not in VERSIONS:
        backwards = " with its bytes in the other order" if version & 0xFFFF == 0 else ""
        raise ValueError(f"it is of version {version}{backwards}; versions 2 and 3 are read")
    n_tensors, n_keys = reader.number("Q"), reader.number("Q")
    for n, most, what in ((n_tensors, MOST_TENSORS, "tensors"), (n_keys, MOST_KEYS, "keys")):
        if n > most:
            raise ValueError(f"it says that it has {n:,} {what}")
    return n_tensors, n_keys


def _pair(reader: _Reader) -> tuple[str, Any]:
    key, kind = reader.text(MOST_NAME), reader.number("I")
    if kind in _NUMBERS:
        return key, reader.number(_NUMBERS[kind])
    if kind == _TEXT:
        return key, reader.text()
    if kind != _ARRAY:
        raise ValueError(f"the value of {key} is of an unknown type {kind}")
    return key, _array(reader, key)


def _array(reader: _Reader, key: str) -> Any:
    kind, n = reader.number("I"), reader.number("Q")
    if n > MOST_ELEMENTS:
        raise ValueError(f"{key} says that it has {n:,} elements")
    if kind == _TEXT:
        for _ in range(n):
            reader.text()
        return ArrayLength(n)
    if kind not in _NUMBERS:
        raise ValueError(f"{key} is an array of an unknown type {kind}")
    code = f"{n}{_NUMBERS[kind]}"
    values = reader.take(struct.calcsize(f"<{code}"))
    return list(struct.unpack(f"<{code}", values)) if n <= KEPT_ELEMENTS else ArrayLength(n)


def _entry(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name, n = reader.text(MOST_NAME), reader.number("I")
    if not 1 <= n <= MOST_DIMENSIONS:
        raise ValueError(f"{name} has {n:,} dimensions")
    # the file names the dimension first that runs fastest
    shape = tuple(reader.number("Q") for _ in range(n))[::-1]
    return name, shape, reader.number("I"), reader.number("Q")


def _tensor(name: str, shape: tuple[int, ...], number: int, start: int) -> GgufTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(number)
        length, nbytes = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        raise ValueError(f"{name} is quantised in an unknown way, number {number}") from None
    if any(n < 1 for n in shape) or shape[-1] % length:
        raise ValueError(f"{name} of {shape} does not consist of blocks of {length} numbers ({kind.name})")
    return GgufTensor(name, shape, kind.name, start, math.prod(shape) // length * nbytes)


def _check_places(tensors: tuple[GgufTensor, ...], alignment: int, room: int, nbytes: int) -> None:
    if not tensors:
        raise ValueError("it has no tensors")
    names = Counter(t.name for t in tensors)
    if twice := next((name for name, n in names.items() if n > 1), None):
        raise ValueError(f"the tensor {twice} is there twice")
    end = 0
    for t in sorted(tensors, key=lambda t: t.start):
        if t.start % alignment:
            raise ValueError(f"{t.name} begins at {t.start:,}, which is no multiple of {alignment}")
        if t.start < end:
            raise ValueError(f"{t.name} begins at {t.start:,}, within the tensor before it")
        end = t.start + t.nbytes
        if end > room:
            raise ValueError(f"{t.name} ends at {nbytes - room + end:,} bytes, the file has {nbytes:,}")
