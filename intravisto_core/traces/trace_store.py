"""What one engine remembers: its traces by id, who may see them, and which of them stay in memory."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

from intravisto_core.errors import RequestError, TraceError, show_value
from intravisto_core.models import LoadedModel
from intravisto_core.models.dictionaries.dictionary import Dictionary
from intravisto_core.records import ModelCard
from intravisto_core.request import TraceRequest, to_json
from intravisto_core.traces.byte_store import ByteStore
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.handles import Handles
from intravisto_core.traces.run_times import RunTimes
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.module_sizes import ModuleSizes
from intravisto_core.tracing.run import CHANGED_BY_FUNCTION

STORE_BYTES = 2 << 30
MOST_ENTRIES = 2000


class Traces:
    """The traces of one model.

    A trace belongs to the session that made it; for any other session it does not exist. model, card: whose traces
    these are; the engine changes the card as the self-check goes on. store: keeps activations and what was computed
    from them. times: how long runs took. module_sizes: what modules give.
    dictionaries: those that were added, by name.
    """

    def __init__(self, model: LoadedModel, card: ModelCard, store: ByteStore) -> None:
        self.model, self.card, self.store = model, card, store
        self.times = RunTimes()
        self.module_sizes = ModuleSizes()
        self.dictionaries: dict[str, Dictionary] = {}
        self._entries: OrderedDict[str, TraceEntry] = OrderedDict()
        self._equal: dict[str, set[str]] = {}
        self._handles = Handles(self._let_go)

    def entry(self, trace: str, session: str) -> TraceEntry:
        """What is remembered of a trace.

        Raises:
            TraceError: this session made no trace of that id, or it was forgotten.
        """
        entry = self._entries.get(trace) if isinstance(trace, str) else None
        if entry is None or not isinstance(session, str) or entry.session != session:
            raise TraceError(f"trace: expected the id of one made here; got {show_value(trace)}. Run the prompt again")
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

    def remember(self, request: TraceRequest, session: str, data: TraceData, id: str, named: str = "") -> TraceEntry:
        """Keep a run. id: its handle. named: its canonical request, where that is not the request's own JSON.

        Raises:
            TraceError: another trace has that id.
        """
        self._handles.tidy()
        if id in self._entries:
            raise TraceError(
                "trace: expected an id that no other trace has; got one that is taken. Run the prompt again"
            )
        reader = self.model.reader
        template: tuple[str, ...] = ()
        if request.chat:
            said = (*request.messages, ("user", str(request.prompt)))
            template = reader.find_template(said, data.ids[: data.prompt_length])
        entry = TraceEntry(
            id=id,
            fingerprint=self._name(request, data, named),
            session=session,
            request=request,
            tokens=reader.tokens(data.ids, data.prompt_length, template),
            prompt_length=data.prompt_length,
            forced_length=data.forced_length,
            last_logits=data.last_logits,
            text=reader.decode(data.ids),
            cancelled=data.cancelled,
            notes=[*data.notes, *_tell_hooks(data.only_once)],
            only_once=data.only_once,
        )
        self._entries[entry.id] = entry
        self._equal.setdefault(entry.fingerprint, set()).add(entry.id)
        while len(self._entries) > MOST_ENTRIES:
            unused = (e for e in self._entries if not self.store.pinned(("trace", e)))
            self._drop(next(unused, next(iter(self._entries))))
        self.keep_data(entry, data)
        return entry

    def _name(self, request: TraceRequest, data: TraceData, named: str) -> str:
        """The fingerprint: a hash, or of a run that there is only once something that no other has."""
        if data.only_once:
            return secrets.token_hex(16)
        # with the ids: a chat template may write the day's date
        return self.model.fingerprint(f"{named or to_json(request)}\n{data.ids[: data.prompt_length]}")

    def require_repeatable(self, entry: TraceEntry) -> None:
        """Refuse to make a run again that there is only once.

        Raises:
            TraceError: it is such a run.
        """
        if entry.only_once:
            raise TraceError(
                f"trace: its activations had to leave memory, and it is not made again, since {entry.only_once}. "
                "Run it once more, and pin it (trace.pin()) to keep it"
            )

    def kept_data(self, entry: TraceEntry) -> TraceData | None:
        """The activations of a trace, or None where they were evicted."""
        return self.store.get(("trace", entry.id))

    def plain_data(self) -> Iterator[TraceData]:
        """The activations of unedited traces that are there, newest first; looking at them does not keep them."""
        for entry in reversed(list(self._entries.values())):
            if not entry.request.interventions and not entry.only_once:
                data: TraceData | None = self.store.peek(("trace", entry.id))
                if data is not None:
                    yield data

    def keep_data(self, entry: TraceEntry, data: TraceData) -> None:
        """Put the activations of a trace into the store."""
        self.store.put(("trace", entry.id), data, data.nbytes)

    def hold(self, entry: TraceEntry, others: tuple[str, ...]) -> None:
        """Keep the activations of other traces for as long as this one is remembered."""
        entry.holds = others
        for other in others:
            self.store.pin(("trace", other), entry.session)

    def hand_out(self, trace: str) -> Callable[[], None]:
        """Count one more handle of a trace; what is returned is called when that handle is gone, from anywhere.

        With the last one its activations are given back, and what was decoded of them; those of its baseline and
        sources too, where nobody else needs them. The entry stays, and is run again when it is asked for.
        """
        return self._handles.hand_out(trace)

    def _let_go(self, trace: str) -> bool:
        """Give back what a trace without handles takes; False where that has to wait."""
        entry = self._entries.get(trace)
        if entry is None:
            return True
        others = self._equal.get(entry.fingerprint, set()) - {trace}
        shared = any(self._handles.held(other) or self.store.pinned(("trace", other)) for other in others)
        shared = shared or self.store.pinned(("trace", trace))

        def gone(key: Hashable) -> bool:
            if not isinstance(key, tuple) or len(key) < 2:
                return False
            if key[0] == "record":
                return trace in key[1]
            return key == ("trace", trace) or (not shared and key[0] == "view" and key[1] == entry.fingerprint)

        if not self.store.drop_now(gone):
            return False
        holds, entry.holds = entry.holds, ()
        for other in holds:
            self.store.unpin(("trace", other))
            if not self._handles.held(other):
                self._let_go(other)
        return True

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

    def rest(self, session: str) -> None:
        """Keep nothing for a session until `resume`; its traces stay known, and are run again where they left."""
        self.store.rest(session)

    def resume(self, session: str) -> None:
        """Keep what a session pinned, as before `rest`."""
        self.store.resume(session)

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
        self._equal.clear()
        self.dictionaries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, trace: str) -> None:
        entry = self._entries.pop(trace)
        equal = self._equal[entry.fingerprint]
        equal.discard(trace)
        if not equal:
            del self._equal[entry.fingerprint]
        self.store.drop(("trace", trace))
        self.store.drop_where(lambda key: isinstance(key, tuple) and key[0] == "record" and trace in key[1])
        for other in entry.holds:
            self.store.unpin(("trace", other))


def _tell_hooks(only_once: str) -> tuple[str, ...]:
    """What a reader must know of a run that looks like the model's own; of `Apply` the request itself speaks."""
    return () if only_once in ("", CHANGED_BY_FUNCTION) else (f"This run is not the model's own: {only_once}.",)
