"""Traces and decoded tiles under one byte budget: the least recently used go first, what is pinned stays."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Any


class ByteStore:
    """A thread-safe store of things with a size.

    budget: bytes; one thing larger than all of it is still kept while it is the newest.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._pins: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(size for _, size in self._items.values())

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a thing; older unpinned ones leave until all fit."""
        with self._lock:
            self._items.pop(key, None)
            used = self.nbytes
            for old in list(self._items):
                if used + size <= self.budget:
                    break
                if not self._pins[old]:
                    used -= self._items.pop(old)[1]
            self._items[key] = (value, size)

    def get(self, key: Hashable) -> Any | None:
        """The thing, now the most recently used, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def pin(self, key: Hashable) -> None:
        """Keep a thing whatever the budget; pins count."""
        with self._lock:
            self._pins[key] += 1

    def unpin(self, key: Hashable) -> None:
        """Take one pin back."""
        with self._lock:
            self._pins[key] -= 1
            if self._pins[key] <= 0:
                del self._pins[key]

    def pinned(self, key: Hashable) -> bool:
        """Whether somebody needs it kept."""
        return self._pins[key] > 0

    def drop(self, key: Hashable) -> None:
        """Forget a thing."""
        with self._lock:
            self._items.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._pins.clear()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)
