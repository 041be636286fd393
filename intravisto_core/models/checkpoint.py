"""What is in safetensors files, from their headers alone: names, shapes and dtypes, on disk or on the Hub."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_WIDTHS = {"64": 8, "32": 4, "16": 2}
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
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
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
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
        header = json.loads(stream.read(length))
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    end = max((entry["data_offsets"][1] for entry in entries), default=0)
    if end != size - 8 - length:
        raise ValueError(f"expected {end + 8 + length} bytes, it has {size}")
    return dict(header)


def parsed(header: dict[str, Any]) -> list[TensorHeader]:
    """The tensors of one file's header that a model is made of."""
    return [
        TensorHeader(name, tuple(entry["shape"]), entry["dtype"])
        for name, entry in header.items()
        if name != "__metadata__" and not is_made_anew(name, len(entry["shape"]))
    ]


def is_made_anew(name: str, n_axes: int = 0) -> bool:
    """Whether a tensor is a mask or table that transformers makes itself; a bias has one axis, a mask none or more."""
    return (n_axes != 1 and name.endswith(_MADE_ANEW)) or name.endswith(_TABLE)


def stored_dtype(config: dict[str, Any], tensors: list[TensorHeader]) -> torch.dtype:
    """What "auto" means: the dtype that the config names, else that of the first weights."""
    named = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or ""), None)
    if isinstance(named, torch.dtype):
        return named
    return next((t.torch_dtype for t in tensors if t.torch_dtype), torch.float32)
