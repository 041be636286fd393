"""What every view is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.token_lengths import TokenLengths, compute_token_lengths
from intravisto_core.models import LoadedModel
from intravisto_core.models.dictionaries.dictionary import Dictionary
from intravisto_core.records import ModelCard
from intravisto_core.traces.byte_store import ByteStore, count_bytes
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.edited import EditedData

Arrays = dict[str, np.ndarray]
Kept = TypeVar("Kept")
ROOM_SHARE = 8


@dataclass(frozen=True, slots=True)
class ViewContext:
    """A model, one of its traces, and the store that keeps what was computed of it.

    base: of an edited trace, the run that it was made from. untouched: how many first positions they share.
    dictionaries: those that were added, by name.
    """

    model: LoadedModel
    card: ModelCard
    data: TraceData
    entry: TraceEntry
    store: ByteStore
    base: TraceEntry | None = None
    untouched: int = 0
    dictionaries: Mapping[str, Dictionary] = field(default_factory=dict)

    @classmethod
    def of(cls, traces: Traces, entry: TraceEntry, data: TraceData) -> ViewContext:
        """The context of a trace. data: its activations."""
        untouched = data.first_position if isinstance(data, EditedData) and data.base is not None else 0
        base = traces.baseline_of(entry)
        return cls(traces.model, traces.card, data, entry, traces.store, base, untouched, traces.dictionaries)

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
        self.store.put(self._full(key), value, count_bytes(value))
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What the store has, or else made now and kept."""
        value: Kept | None = self.find(key)
        return self.keep(key, make()) if value is None else value

    def take_room(self, size: int) -> Tensor | None:
        """Memory for so many float32 numbers, which every view of this engine writes over; None where it would take
        more of the store than one part in `ROOM_SHARE`.

        It lies in the store like what is computed, so it counts in the budget and goes where it is not used.
        """
        key = ("room", str(self.model.device))
        found: Tensor | None = self.store.get(key)
        if found is None or len(found) < size:
            if 4 * size * ROOM_SHARE > self.store.budget:
                return None
            found = torch.empty(size, dtype=torch.float32, device=self.model.device)
            self.store.put(key, found, found.nbytes)
        return found

    def token_lengths(self) -> TokenLengths:
        """The lengths of all tokens' directions, computed once a model."""
        key = ("token lengths", str(self.model.device))
        found: TokenLengths | None = self.store.get(key)
        if found is None:
            found = compute_token_lengths(self.model)
            self.store.put(key, found, found.nbytes)
        return found

    def _full(self, key: Hashable) -> Hashable:
        return ("view", self.entry.fingerprint, self.entry.length, key)
