"""How much memory can still be taken, and giving back what is no longer used."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil
import torch

from intravisto_core.errors import MemoryShortError
from intravisto_core.records.memory import size

CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
# of the C library, PyTorch on the CPU, CUDA outside PyTorch's own allocator, and its libraries
_OUT_OF_MEMORY = (
    *("Cannot allocate memory", "can't allocate memory", "not enough memory"),
    *("CUDA error: out of memory", "CUDA out of memory", "STATUS_ALLOC_FAILED"),
)
_SMALL = 256 << 20
# A limit above this is how the first version of control groups says "none".
_NO_LIMIT = 1 << 60
# glibc's names for its settings (malloc.h), and the largest that the first may be
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_APART, _USUAL = 128 << 10, 32 << 20
_set_by_the_user = "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "")
_lock, _loads = threading.Lock(), 0


def free_bytes(device: torch.device) -> int:
    """Bytes that can be allocated on a device now.

    On the CPU the least of: what the system calls available, what the control group (a container's limit) leaves, and
    what the address space may still grow by.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) + _unused_cache(device)
    limits = (int(psutil.virtual_memory().available), group_bytes(), _address_space())
    return max(0, min(limit for limit in limits if limit is not None))


def total_bytes() -> int:
    """The memory of this machine, or of what the control group allows where that is less."""
    there, limit = int(psutil.virtual_memory().total), group_limit()
    return there if limit is None else min(there, limit)


def all_free() -> dict[str, int]:
    """Free bytes by device."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]
    return {name: free_bytes(torch.device(name)) for name in devices}


def require_free(nbytes: int, device: torch.device, what: str, instead: str) -> None:
    """Refuse what would take more than is free; what is small is not looked at.

    Raises:
        MemoryShortError: with the sizes, and `instead`.
    """
    if nbytes > _SMALL and nbytes > (there := free_bytes(device)):
        raise MemoryShortError(
            f"{what}: expected {size(nbytes)} of memory for it; {size(there)} are free on {device}. {instead}"
        )


def _unused_cache(device: torch.device) -> int:
    return int(torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _address_space() -> int | None:
    """What a limit on the address space leaves, or None where there is none."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else int(limit) - int(psutil.Process().memory_info().vms)


def group_bytes(root: Path = CGROUPS, own: Path = _OWN_GROUPS) -> int | None:
    """What the control groups of this process leave, of both versions; None where none limits it.

    Pages that the kernel can drop (`inactive_file`) count as free.
    """
    return min((max(0, limit - used) for limit, used in _limits(root, own)), default=None)


def group_limit(root: Path = CGROUPS, own: Path = _OWN_GROUPS) -> int | None:
    """What the control groups of this process allow; None where none limits it."""
    return min((limit for limit, _ in _limits(root, own)), default=None)


def _limits(root: Path, own: Path) -> list[tuple[int, int]]:
    """Limit and use, without what the kernel can drop, of each control group that has a limit."""
    try:
        lines = _read(own)
    except OSError:
        return []
    rooms = [_room(group) for group in _list_groups(root, lines)]
    return [room for room in rooms if room is not None]


@dataclass(frozen=True, slots=True)
class _Group:
    """The files of a control group, and the name of what the kernel can drop."""

    limit: str
    used: str
    stat: str
    droppable: str


@lru_cache(maxsize=8)
def _list_groups(root: Path, lines: str) -> tuple[_Group, ...]:
    """The control groups that the lines of a process name, with those above them; asked for at every run."""
    found: list[_Group] = []
    for line in lines.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            tops, names = (root, root / "unified"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            tops = (root / "memory", root / controllers)
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for top in tops:
            # in a container its own group may be mounted as the root, whatever path is written
            folder = top / path.lstrip("/")
            for group in {top, folder, *(p for p in folder.parents if p.is_relative_to(top))}:
                limit, used, stat = (str(group / name) for name in (*names[:2], "memory.stat"))
                found.append(_Group(limit, used, stat, names[2]))
    return tuple(found)


def _room(group: _Group) -> tuple[int, int] | None:
    try:
        allowed = _read(group.limit).strip()
        if allowed == "max" or int(allowed) >= _NO_LIMIT:
            return None
        taken, stat = int(_read(group.used)), dict(line.split() for line in _read(group.stat).splitlines())
    except (OSError, ValueError):
        return None
    return int(allowed), taken - int(stat.get(group.droppable, 0))


def _read(path: str | Path) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def give_back() -> None:
    """Return to the system what nothing refers to any more: on the host, and on the GPUs."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Return to the system what was freed already."""
    if sys.platform == "linux":
        # glibc keeps freed blocks for itself unless asked
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@contextmanager
def allocations_apart() -> Iterator[None]:
    """Within this context the large blocks that a process takes are each their own, and leave with what they held.

    Else glibc cuts weights out of a heap, between the copies that loading makes of them, and keeps the holes. What it
    does for the many smaller blocks of a run is as before afterwards.
    """
    global _loads
    with _lock:
        _loads += 1
        _take_apart(_APART)
    try:
        yield
    finally:
        with _lock:
            _loads -= 1
            if not _loads:
                _take_apart(_USUAL)


def _take_apart(size: int) -> None:
    """Have blocks of that size and above taken from the system, and given back to it, one by one."""
    change = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not _set_by_the_user else None
    if change is not None:
        change(_MMAP_THRESHOLD, size)
        change(_TRIM_THRESHOLD, 2 * size)


def forget(error: BaseException | None) -> None:
    """Let go of what the frames of an error and its causes hold; whoever shows the error may keep it for long."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def is_short(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in _OUT_OF_MEMORY)


@contextmanager
def freeing(what: str) -> Iterator[None]:
    """Within this context, memory that runs out is an error of ours, and all that was taken is given back.

    Raises:
        MemoryShortError: it ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_short(error):
            raise
        forget(error)
        short = True
    else:
        short = False
    if short:
        give_back()
        raise MemoryShortError(
            f"{what}: expected enough memory for it; it ran out, and everything that it took was given back. Choose "
            "precision bfloat16, 4 bit, offload, or a smaller model"
        )
