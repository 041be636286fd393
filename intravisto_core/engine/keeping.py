"""What an engine in this process keeps of traces, and for whom."""

from __future__ import annotations

from intravisto_core.engine.trace_info import TraceInfo, describe_entry
from intravisto_core.request.fields import read_text
from intravisto_core.traces import Traces


class Keeping:
    """The methods of an engine that describe, keep and drop traces."""

    @property
    def kept_traces(self) -> Traces:
        """The traces of this model."""
        raise NotImplementedError

    def describe(self, trace: str, session: str = "") -> TraceInfo:
        """What is known of a trace now.

        Raises:
            TraceError: see `find`.
        """
        return describe_entry(self.kept_traces.entry(trace, session))

    def forget(self, trace: str, session: str = "") -> None:
        """Drop a trace; an edit lets go of its baseline and sources.

        Raises:
            TraceError: see `find`.
        """
        self.kept_traces.forget(trace, session)

    def pin(self, trace: str, session: str = "") -> None:
        """Keep a trace's activations whatever the byte budget; pins count.

        Raises:
            TraceError: see `find`.
        """
        self.kept_traces.pin(trace, session)

    def unpin(self, trace: str, session: str = "") -> None:
        """Take one pin back.

        Raises:
            TraceError: see `find`.
        """
        self.kept_traces.unpin(trace, session)

    def rest(self, session: str) -> None:
        """Nobody looks at a session for now: its pins keep nothing until `resume`."""
        self.kept_traces.rest(read_text(session, "session"))

    def resume(self, session: str) -> None:
        """Somebody looks at a session again: its pins count again."""
        self.kept_traces.resume(read_text(session, "session"))
