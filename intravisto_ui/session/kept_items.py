"""The last few things that a workspace has drawn or read, so that a click does not make them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

ITEMS_KEPT = 16

T = TypeVar("T")


class KeptItems(OrderedDict[Hashable, Any]):
    """By key; the ones that were asked for last stay."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def find(self, key: Hashable, make: Callable[[], T], outdated: Callable[[T], bool]) -> T:
        """What is kept, or else what `make` gives. outdated: says of what is kept whether it is made anew."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
                found: T = self[key]
                if not outdated(found):
                    return found
        made = make()
        with self._lock:
            self[key] = made
            while len(self) > ITEMS_KEPT:
                self.popitem(last=False)
        return made
