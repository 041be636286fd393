"""What every view is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from intravisto_core.engine.entry import TraceEntry
from intravisto_core.engine.store import ByteStore
from intravisto_core.models import LoadedModel
from intravisto_core.records import ModelCard
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.edited import EditedData

if TYPE_CHECKING:
    from intravisto_core.engine.local import LocalEngine

Arrays = dict[str, np.ndarray]
Kept = TypeVar("Kept", Arrays, np.ndarray)


@dataclass(frozen=True, slots=True)
class ViewContext:
    """A model, one of its traces, and the store that keeps what was computed of it.

    base: of an edited trace, the run that it was made from. untouched: how many first positions they share.
    """

    model: LoadedModel
    card: ModelCard
    data: TraceData
    entry: TraceEntry
    store: ByteStore
    base: TraceEntry | None = None
    untouched: int = 0

    def at(self, stop: int) -> ViewContext:
        """Under whose name the positions before `stop` are kept: the baseline's, where an edit left them as they were.

        Their next tokens are the same too: the one at `stop` was chosen before the edit.
        """
        return self if self.base is None or stop > self.untouched else replace(self, entry=self.base)

    def look(self, key: Hashable) -> Any | None:
        """What the store has under a key of this trace's content, or None."""
        return self.store.get(self._full(key))

    def keep(self, key: Hashable, value: Kept) -> Kept:
        """Put a value under a key of this trace's content."""
        self.store.put(self._full(key), value, size_of(value))
        return value

    def kept(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What the store has, or else made now and kept."""
        value: Kept | None = self.look(key)
        return self.keep(key, make()) if value is None else value

    def _full(self, key: Hashable) -> Hashable:
        return ("view", self.entry.fingerprint, self.entry.length, key)


def context_of(engine: LocalEngine, entry: TraceEntry, data: TraceData) -> ViewContext:
    """The context of a trace of an engine."""
    untouched = data.first_position if isinstance(data, EditedData) and data.base is not None else 0
    base = engine._entries.get(entry.baseline)
    return ViewContext(engine._model, engine._card, data, entry, engine.store, base, untouched)


def size_of(value: Arrays | np.ndarray) -> int:
    """Bytes of an array, or of all arrays of a dict."""
    return sum(a.nbytes for a in value.values()) if isinstance(value, dict) else value.nbytes
