"""What every view is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from intravisto_core.models import LoadedModel
from intravisto_core.records import ModelCard
from intravisto_core.traces.byte_store import ByteStore
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.edited import EditedData

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

    @classmethod
    def of(cls, traces: Traces, entry: TraceEntry, data: TraceData) -> ViewContext:
        """The context of a trace. data: its activations."""
        untouched = data.first_position if isinstance(data, EditedData) and data.base is not None else 0
        base = traces.baseline_of(entry)
        return cls(traces.model, traces.card, data, entry, traces.store, base, untouched)

    def at(self, stop: int) -> ViewContext:
        """The context that decoded cells of the positions before `stop` are stored under.

        Of an edit it is the baseline's, as long as the edit left all of these positions as they were: the cells are
        then the same, and their next tokens too, since the one at `stop` was chosen before the edit.
        """
        return self if self.base is None or stop > self.untouched else replace(self, entry=self.base)

    def find(self, key: Hashable) -> Any | None:
        """What the store has under a key of this trace's content, or None."""
        return self.store.get(self._full(key))

    def keep(self, key: Hashable, value: Kept) -> Kept:
        """Put a value under a key of this trace's content."""
        self.store.put(self._full(key), value, size_of(value))
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What the store has, or else made now and kept."""
        value: Kept | None = self.find(key)
        return self.keep(key, make()) if value is None else value

    def _full(self, key: Hashable) -> Hashable:
        return ("view", self.entry.fingerprint, self.entry.length, key)


def size_of(value: Arrays | np.ndarray) -> int:
    """Bytes of an array, or of all arrays of a dict."""
    return sum(a.nbytes for a in value.values()) if isinstance(value, dict) else value.nbytes
