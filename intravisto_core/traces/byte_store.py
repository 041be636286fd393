"""Traces and decoded tiles under one byte budget: the least recently used go first, what is pinned stays."""

from __future__ import annotations

import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

# of a long list of one kind, as the tokens of a text, so many members are measured and stand for the others
MEASURED = 64


class ByteStore:
    """A thread-safe store of things with a size.

    budget: bytes; one thing larger than all of it is still kept while it is the newest. most_pinned: bytes that all
    owners together may keep pinned; most_pinned_an_owner: the same for each. Beyond that, those of the pinned that were
    unused for longest may leave like the others. None is no limit.
    """

    def __init__(self, budget: int, most_pinned: int | None = None, most_pinned_an_owner: int | None = None) -> None:
        self.budget = budget
        self.most_pinned, self.most_pinned_an_owner = most_pinned, most_pinned_an_owner
        self._owners: dict[Hashable, str] = {}
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._pins: Counter[Hashable] = Counter()
        self._resting: set[str] = set()
        self._lock = threading.Lock()
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._used

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a thing; older unpinned ones leave until all fit."""
        with self._lock:
            self._take_out(key)
            if self._used + size > self.budget:
                protected = self._protected()
                for old in [old for old in self._items if old not in protected]:
                    if self._used + size <= self.budget:
                        break
                    self._take_out(old)
            self._items[key] = (value, size)
            self._used += size

    def get(self, key: Hashable) -> Any | None:
        """The thing, now the most recently used, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def peek(self, key: Hashable) -> Any | None:
        """The thing, used no more recently than before, or None."""
        with self._lock:
            return self._items.get(key, (None, 0))[0]

    def pin(self, key: Hashable, owner: str = "") -> None:
        """Keep a thing whatever the budget; pins count. owner: whose share of the pinned it takes from."""
        with self._lock:
            self._pins[key] += 1
            self._owners[key] = owner

    def unpin(self, key: Hashable) -> None:
        """Take one pin back."""
        with self._lock:
            self._pins[key] -= 1
            if self._pins[key] <= 0:
                del self._pins[key]
                self._owners.pop(key, None)

    def rest(self, owner: str) -> None:
        """An owner is away: until it is back, its pins keep nothing."""
        with self._lock:
            self._resting.add(owner)

    def resume(self, owner: str) -> None:
        """An owner is back, and so are its pins."""
        with self._lock:
            self._resting.discard(owner)

    def pinned(self, key: Hashable) -> bool:
        """Whether somebody needs it kept."""
        return self._pins[key] > 0

    def drop(self, key: Hashable) -> None:
        """Forget a thing."""
        with self._lock:
            self._take_out(key)

    def drop_where(self, chosen: Callable[[Hashable], bool]) -> None:
        """Forget the things whose key is chosen."""
        with self._lock:
            for key in [key for key in self._items if chosen(key)]:
                self._take_out(key)

    def drop_now(self, gone: Callable[[Hashable], bool]) -> bool:
        """Forget unpinned things, without waiting for anybody: False where the store is in use just now.

        For callers that may be anywhere, such as the end of an object's life inside another call of this store.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            for key in [key for key in self._items if gone(key) and self._pins[key] <= 0]:
                self._take_out(key)
            return True
        finally:
            self._lock.release()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._used = 0
            self._pins.clear()
            self._owners.clear()
            self._resting.clear()

    def _take_out(self, key: Hashable) -> None:
        self._used -= self._items.pop(key, (None, 0))[1]

    def _protected(self) -> set[Hashable]:
        """The pinned things that stay: the last used ones, as far as their owner's share and all shares go."""
        kept: set[Hashable] = set()
        used, by_owner = 0, Counter[str]()
        for key in reversed(self._items):
            size, owner = self._items[key][1], self._owners.get(key, "")
            if self._pins[key] <= 0 or owner in self._resting:
                continue
            own_share = self.most_pinned_an_owner is None or by_owner[owner] + size <= self.most_pinned_an_owner
            if own_share and (self.most_pinned is None or used + size <= self.most_pinned):
                kept.add(key)
                used += size
                by_owner[owner] += size
        return kept

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)


def count_bytes(value: Any) -> int:
    """How much memory a record, or what it is made of, takes: arrays, tables and texts."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return int(value.nbytes)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(count_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return sum(count_bytes(key) + count_bytes(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        alike = bool(value) and is_dataclass(value[0])
        some = value[:MEASURED] if alike else value
        return sum(map(count_bytes, some)) * len(value) // max(1, len(some))
    if hasattr(value, "memory_usage"):
        return int(value.memory_usage(deep=True).sum())
    return sys.getsizeof(value)
