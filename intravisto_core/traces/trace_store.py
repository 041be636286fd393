"""What one engine remembers: its traces by id, who may see them, and which of them stay in memory."""

from __future__ import annotations

import secrets
from collections import OrderedDict

from intravisto_core.errors import RequestError, TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.records import ModelCard
from intravisto_core.request import TraceRequest, to_json
from intravisto_core.traces.byte_store import ByteStore
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.run_times import RunTimes
from intravisto_core.tracing import TraceData

STORE_BYTES = 2 << 30
MOST_ENTRIES = 2000


class Traces:
    """The traces of one model.

    A trace belongs to the session that made it; for any other session it does not exist. model, card: whose traces
    these are. store: keeps activations and what was computed from them. times: how long runs took.
    """

    def __init__(self, model: LoadedModel, card: ModelCard, store: ByteStore) -> None:
        self.model, self.card, self.store = model, card, store
        self.times = RunTimes()
        self._entries: OrderedDict[str, TraceEntry] = OrderedDict()

    def entry(self, trace: str, session: str) -> TraceEntry:
        """What is remembered of a trace.

        Raises:
            TraceError: this session made no trace of that id, or it was forgotten.
        """
        entry = self._entries.get(trace) if isinstance(trace, str) else None
        if entry is None or entry.session != session:
            raise TraceError(f"trace: expected the id of one made here; got {trace!r}. Run the prompt again")
        return entry

    def unedited(self, trace: str, session: str, name: str) -> TraceEntry:
        """The same for a trace that must be unedited. name: what the request calls it.

        Raises:
            RequestError: it is edited. TraceError: see `entry`.
        """
        entry = self.entry(trace, session)
        if entry.request.interventions:
            raise RequestError(f"{name}: expected an unedited trace; got an edited one. Take its baseline")
        return entry

    def baseline_of(self, entry: TraceEntry) -> TraceEntry | None:
        """The unedited run that an edited one was made from; None of an unedited one, or where it is gone."""
        return self._entries.get(entry.baseline)

    def remember(self, request: TraceRequest, session: str, data: TraceData, named: str = "") -> TraceEntry:
        """Keep a run. named: its canonical request, where that is not the request's own JSON."""
        reader = self.model.reader
        entry = TraceEntry(
            id=secrets.token_urlsafe(12),
            # with the ids: a chat template may write the day's date
            fingerprint=self.model.fingerprint(f"{named or to_json(request)}\n{data.ids[: data.prompt_length]}"),
            session=session,
            request=request,
            tokens=reader.tokens(data.ids, data.prompt_length),
            prompt_length=data.prompt_length,
            forced_length=data.forced_length,
            last_logits=data.last_logits,
            text=reader.decode(data.ids),
            cancelled=data.cancelled,
            notes=list(data.notes),
        )
        self._entries[entry.id] = entry
        while len(self._entries) > MOST_ENTRIES:
            unused = (e for e in self._entries if not self.store.pinned(("trace", e)))
            self._drop(next(unused, next(iter(self._entries))))
        self.keep_data(entry, data)
        return entry

    def kept_data(self, entry: TraceEntry) -> TraceData | None:
        """The activations of a trace, or None where they were evicted."""
        return self.store.get(("trace", entry.id))

    def keep_data(self, entry: TraceEntry, data: TraceData) -> None:
        """Put the activations of a trace into the store."""
        self.store.put(("trace", entry.id), data, data.nbytes)

    def hold(self, entry: TraceEntry, others: tuple[str, ...]) -> None:
        """Keep the activations of other traces for as long as this one is remembered."""
        entry.holds = others
        for other in others:
            self.store.pin(("trace", other), entry.session)

    def pin(self, trace: str, session: str) -> None:
        """Keep a trace's activations whatever the byte budget; pins count.

        Raises:
            TraceError: see `entry`.
        """
        self.store.pin(("trace", self.entry(trace, session).id), session)

    def unpin(self, trace: str, session: str) -> None:
        """Take one pin back.

        Raises:
            TraceError: see `entry`.
        """
        self.store.unpin(("trace", self.entry(trace, session).id))

    def forget(self, trace: str, session: str) -> None:
        """Drop a trace; an edit lets go of its baseline and sources.

        Raises:
            TraceError: see `entry`.
        """
        self._drop(self.entry(trace, session).id)

    def clear(self) -> None:
        """Drop everything."""
        self.store.clear()
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, trace: str) -> None:
        entry = self._entries.pop(trace)
        self.store.drop(("trace", trace))
        for other in entry.holds:
            self.store.unpin(("trace", other))
