"""What is in safetensors files, from their headers alone: names, shapes and dtypes, on disk or on the Hub."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from intravisto_core.models.files.json_file import parse_object

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_WIDTHS = {"64": 8, "32": 4, "16": 2}
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
# Those of which a number takes whole bytes.
_SURE = (*_DTYPES, "I64", "I32", "I16", "I8", "U8", "BOOL")
# Tensors that old checkpoints hold and transformers makes itself.
_MADE_ANEW = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias")
_TABLE = ".inv_freq"


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor of a checkpoint. dtype: as the format writes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What it takes in its file."""
        return self.numel * _WIDTHS.get(self.dtype[-2:], 1)

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """Its floating dtype, or None where it holds no floating numbers."""
        return _DTYPES.get(self.dtype)

    @property
    def in_block(self) -> bool:
        """Whether it belongs to one of the blocks: a part of its name is a number."""
        return any(part.isdigit() for part in self.name.split("."))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads from a folder."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        index = parse_object((folder / INDEX).read_bytes())
        return [folder / name for name in sorted(set(index["weight_map"].values()))]
    return sorted(folder.glob("*.safetensors"))


def headers(files: list[Path]) -> list[TensorHeader]:
    """The tensors in files.

    Raises:
        ValueError: a file is no safetensors file, or its end is missing.
    """
    return [tensor for file in files for tensor in parsed(_header(file))]


def _header(file: Path) -> dict[str, Any]:
    """A file's header, read without mapping the file: that takes room even where nothing is read."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= size - 8:
            raise ValueError("its header is missing")
        header = parse_object(stream.read(length))
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    end = max((entry["data_offsets"][1] for entry in entries), default=0)
    if end != size - 8 - length:
        raise ValueError(f"expected {end + 8 + length} bytes, it has {size}")
    return header


def parsed(header: dict[str, Any]) -> list[TensorHeader]:
    """The tensors of one file's header that a model is made of.

    Raises:
        ValueError: what it says of one is no shape, no dtype, or another size than its place in the file.
    """
    tensors = [_tensor(name, entry) for name, entry in header.items() if name != "__metadata__"]
    return [tensor for tensor in tensors if not is_made_anew(tensor.name, len(tensor.shape))]


def _tensor(name: str, entry: Any) -> TensorHeader:
    shape, dtype, (start, end) = entry["shape"], entry["dtype"], entry["data_offsets"]
    whole = isinstance(shape, list) and all(type(n) is int for n in (*shape, start, end))
    if not (whole and isinstance(dtype, str) and min([start, *shape]) >= 0):
        raise ValueError(f"{name[:80]} has no shape, dtype and place in it")
    tensor = TensorHeader(name, tuple(shape), dtype)
    if dtype in _SURE and end - start != tensor.nbytes:
        raise ValueError(f"{name[:80]} of shape {shape} should take {tensor.nbytes:,} bytes and has {end - start:,}")
    return tensor


def is_made_anew(name: str, n_axes: int = 0) -> bool:
    """Whether a tensor is a mask or table that transformers makes itself; a bias has one axis, a mask none or more."""
    return (n_axes != 1 and name.endswith(_MADE_ANEW)) or name.endswith(_TABLE)


def stored_dtype(config: dict[str, Any], tensors: list[TensorHeader]) -> torch.dtype:
    """What "auto" means: the dtype that the config names, else that of the first weights."""
    stated = str(config.get("dtype") or config.get("torch_dtype") or "")
    named = getattr(torch, stated.removeprefix("torch."), None)
    if isinstance(named, torch.dtype):
        return named
    return next((t.torch_dtype for t in tensors if t.torch_dtype), torch.float32)
