"""The package gguf's reader of a file, without the vocabulary: what unpacking weights needs of it.

The package makes an array of each word of the vocabulary, several hundred thousand. That takes longer than unpacking,
holds up every other thread meanwhile, and nobody asks for them: the tokenizer is read by another reader.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType

from intravisto_core.models.gguf.header import KEPT_ELEMENTS

_ARRAY_HEAD = 12  # bytes: the kind of its elements, and how many there are
_TEXT_HEAD = 8  # bytes: its length


class TensorReader(GGUFReader):
    """All tensors and all short fields of a file. A long array is there by its name and its kind, without elements."""

    @property
    def data(self) -> Any:
        """The bytes of the file, mapped into memory."""
        return self._bytes

    @data.setter
    def data(self, mapped: Any) -> None:
        # a plain array is sliced in a third of the time that numpy's own class for mapped files takes
        self._bytes = mapped.view(np.ndarray)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type == GGUFValueType.ARRAY:
            kind = GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
            n = int(self._get(orig_offs + 4, np.uint64)[0])
            if n > KEPT_ELEMENTS and kind is not GGUFValueType.ARRAY:
                size = _ARRAY_HEAD + self._measure(orig_offs + _ARRAY_HEAD, kind, n)
                return size, [], [], [GGUFValueType.ARRAY, kind]
        found: tuple[int, list[Any], list[int], list[GGUFValueType]] = super()._get_field_parts(orig_offs, raw_type)
        return found

    def _measure(self, start: int, kind: GGUFValueType, n: int) -> int:
        """How many bytes the elements of an array take."""
        if kind is not GGUFValueType.STRING:
            return n * np.dtype(self.gguf_scalar_to_np[kind]).itemsize
        read_length = struct.Struct(">Q" if self.byte_order == "S" else "<Q").unpack_from
        end = start
        for _ in range(n):
            end += _TEXT_HEAD + int(read_length(self._bytes, end)[0])
        return end - start
