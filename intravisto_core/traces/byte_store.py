"""Traces and decoded tiles under one byte budget: the least recently used go first, what is pinned stays."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Any


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
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(size for _, size in self._items.values())

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a thing; older unpinned ones leave until all fit."""
        with self._lock:
            self._items.pop(key, None)
            used, protected = self.nbytes, self._protected()
            for old in list(self._items):
                if used + size <= self.budget:
                    break
                if old not in protected:
                    used -= self._items.pop(old)[1]
            self._items[key] = (value, size)

    def get(self, key: Hashable) -> Any | None:
        """The thing, now the most recently used, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

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
            self._owners.clear()

    def _protected(self) -> set[Hashable]:
        """The pinned things that stay: the last used ones, as far as their owner's share and all shares go."""
        kept: set[Hashable] = set()
        used, by_owner = 0, Counter[str]()
        for key in reversed(self._items):
            if self._pins[key] <= 0:
                continue
            size, owner = self._items[key][1], self._owners.get(key, "")
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
