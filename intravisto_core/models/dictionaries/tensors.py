"""The arrays of a dictionary's file: read without running anything in it, of the right sizes, finite."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from intravisto_core.errors import ModelError

SAFE, ARRAYS = ".safetensors", ".npz"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
# numbers are hardly ever packed closer than this
LARGEST_PACKING = 16
_PIECE = 1 << 24


def read_tensors(path: Path, where: str) -> dict[str, Tensor]:
    """All arrays of a safetensors or npz file, those of the first mapped from it. where: what messages call it.

    Raises:
        ModelError: it is a pickle file, is damaged, or holds something else than arrays.
    """
    if path.suffix not in (SAFE, ARRAYS):
        raise ModelError(f"{where}: expected a {SAFE} or {ARRAYS} file; pickle files are never opened: {path.name}")
    try:
        return _read_safe(path) if path.suffix == SAFE else _read_arrays(path)
    except (SafetensorError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ModelError(
            f"{where}: expected {path.name} to hold arrays of numbers; it is damaged, or holds something else "
            f"({reason}). Download it again, or choose another dictionary"
        ) from None


def _read_safe(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)


def _read_arrays(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as packed:
        unpacked = sum(entry.file_size for entry in packed.infolist())
    if unpacked > LARGEST_PACKING * path.stat().st_size:
        raise ValueError(f"it would take {unpacked:,} bytes unpacked")
    with np.load(path, allow_pickle=False) as found:
        return {name: torch.from_numpy(np.ascontiguousarray(found[name])) for name in found.files}


def pick_tensors(
    found: Mapping[str, Tensor], needed: Mapping[str, tuple[int, ...]], besides: Iterable[str], where: str
) -> dict[str, Tensor]:
    """The named arrays, each in its shape and finite. besides: names that may be there too.

    Raises:
        ModelError: one is missing, has another shape, or holds something that is no finite number; or there is one that
            the formula does not know.
    """
    missing, unknown = sorted(set(needed) - set(found)), sorted(set(found) - set(needed) - set(besides))
    if missing or unknown:
        which = f"{', '.join(missing)} is missing" if missing else f"{', '.join(unknown)} is not known"
        raise ModelError(
            f"{where}: expected arrays {', '.join(needed)}; {which}. Its config and its weights do not belong together"
        )
    for name, shape in needed.items():
        check_tensor(found[name], name, shape, where)
    return {name: found[name] for name in needed}


def check_tensor(tensor: Tensor, name: str, shape: tuple[int, ...], where: str) -> None:
    """Refuse an array of another shape, or with something that is no finite number.

    Raises:
        ModelError: it is such an array.
    """
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        got = f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")
        raise ModelError(f"{where}: {name}: expected numbers of shape {shape}; got {got}. Choose another dictionary")
    for piece in tensor.reshape(-1).split(_PIECE):
        if not bool(torch.isfinite(piece).all()):
            raise ModelError(
                f"{where}: {name}: expected finite numbers; some are infinite or none at all (NaN). Download it again"
            )
