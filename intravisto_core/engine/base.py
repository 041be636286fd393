"""What every engine offers, and the trace as its user holds it; each names the other.

A local engine, one on another machine and one that reads saved runs keep the same promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from intravisto_core.engine.job import Job
from intravisto_core.engine.saving import Described, Held, save_run
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.engine.trace_views import TraceViews
from intravisto_core.errors import RequestError, TraceError, expected
from intravisto_core.options import refuse_unknown
from intravisto_core.records import ConceptDirection, MemoryEstimate, ModelCard, Token
from intravisto_core.request import Intervention, ModelSpec, Request, TraceRequest, Turn, View
from intravisto_core.sites import Site, TextMode

R = TypeVar("R")


class Engine(Protocol):
    """One model that answers requests; nothing else crosses this boundary.

    session: whose trace it is, in every verb that reads or changes one; for another session the trace does not exist.
    After `close` every verb raises a TraceError.
    """

    @property
    def spec(self) -> ModelSpec:
        """Which model was opened, and how."""
        ...

    @property
    def model(self) -> ModelCard:
        """The loaded model and its checked capabilities, as far as they are known; see `finish_check`."""
        ...

    def finish_check(self, timeout: float | None = None) -> ModelCard:
        """Wait until the whole self-check is done, at most so many seconds; gives the card with nothing pending."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What names the exact model: hashes of its weights, tokenizer and chat template, and what it computes in."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        ...

    def tokenize(
        self, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
    ) -> tuple[Token, ...]:
        """The tokens that a prompt would have, without running anything."""
        ...

    def estimate(
        self,
        prompt_tokens: int,
        new_tokens: int = 0,
        sites: Sequence[Site] | None = None,
        whitened: bool = False,
        modules: str | Sequence[str] = (),
    ) -> MemoryEstimate:
        """What such a run takes beside the loaded model, in bytes, and what is free for it.

        whitened: with an edit that puts a whitened vector in, whose first one measures the whole vocabulary.
        """
        ...

    def expected_seconds(self, prompt_tokens: int, new_tokens: int = 0) -> float | None:
        """How long such a run takes by what earlier ones took, or None before the first."""
        ...

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """Queue a request. A newer view with the same non-empty slot takes an older one's place."""
        ...

    def view(self, view: View[R], *, session: str = "", slot: str = "") -> R:
        """Submit a view and wait for its record."""
        ...

    def trace(self, prompt: str | tuple[int, ...], max_new_tokens: int = 0, **options: Any) -> Trace:
        """Run the model over a prompt and wait."""
        ...

    def direction(self, name: str, positive: Any, negative: Any = (), **options: Any) -> ConceptDirection:
        """A concept direction from prompts."""
        ...

    def find(self, trace: str, session: str = "") -> Trace:
        """The handle of a trace that this session made."""
        ...

    def describe(self, trace: str, session: str = "") -> TraceInfo:
        """What is known of a trace now."""
        ...

    def forget(self, trace: str, session: str = "") -> None:
        """Drop a trace; an edit lets go of its baseline and sources."""
        ...

    def pin(self, trace: str, session: str = "") -> None:
        """Keep a trace's activations whatever the byte budget; pins count."""
        ...

    def unpin(self, trace: str, session: str = "") -> None:
        """Take one pin back."""
        ...

    def rest(self, session: str) -> None:
        """Nobody looks at a session for now: its pins keep nothing until `resume`."""
        ...

    def resume(self, session: str) -> None:
        """Somebody looks at a session again: its pins count again."""
        ...

    def close(self) -> None:
        """Stop working and let go of the model."""
        ...


class Trace(TraceViews):
    """One run of a model over a text; the activations stay with the engine.

    tokens: prompt, then generated; every one has been run. text: all decoded, specials left out. prompt_length: in
    tokens, BOS included. cancelled: whether it was stopped early. notes: sentences that the reader must know.
    """

    def __init__(
        self, engine: Engine, info: TraceInfo, session: str = "", held: Mapping[str, Held] | None = None
    ) -> None:
        self._engine, self._info, self._session = engine, info, session
        # of what file it was opened from, by trace: of this one and of its baseline
        self._held: Mapping[str, Held] = held or {}

    @property
    def engine(self) -> Engine:
        """The engine that holds the activations."""
        return self._engine

    @property
    def session(self) -> str:
        """Whose trace it is."""
        return self._session

    @property
    def id(self) -> str:
        """A random handle; views name the trace by it."""
        return self._info.id

    @property
    def fingerprint(self) -> str:
        """A hash of request, weights, dtype and attention path: equal runs have equal ones."""
        return self._info.fingerprint

    @property
    def request(self) -> TraceRequest:
        """What was asked."""
        return self._info.request

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the text."""
        return self._info.tokens

    @property
    def text(self) -> str:
        """The whole text, special tokens left out."""
        return self._info.text

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt, BOS included."""
        return self._info.prompt_length

    @property
    def cancelled(self) -> bool:
        """Whether the run was stopped before its end."""
        return self._info.cancelled

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """What was changed inside; none in an unedited run."""
        return self.request.interventions

    @property
    def baseline(self) -> Trace | None:
        """The unedited run that an edited one is held against; it is kept as long as this one."""
        return self._engine.find(self._info.baseline, self._session) if self._info.baseline else None

    @property
    def mode(self) -> TextMode | None:
        """Whether an edited run read the baseline's tokens (held) or went on by itself (free); else None."""
        return self.request.text if self.interventions else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know about this run. A run that had to be made again may get one more."""
        try:
            return self._engine.describe(self.id, self._session).notes
        except TraceError:  # forgotten since
            return self._info.notes

    def pin(self) -> None:
        """Keep the activations whatever the byte budget."""
        self._engine.pin(self.id, self._session)

    def unpin(self) -> None:
        """Take one pin back."""
        self._engine.unpin(self.id, self._session)

    def forget(self) -> None:
        """Drop the trace; nothing more can be asked of it."""
        self._engine.forget(self.id, self._session)

    def edit_request(
        self, *interventions: Intervention, text: TextMode | str = TextMode.HELD, **options: Any
    ) -> TraceRequest:
        """What `edit` asks of the engine. Of an edited trace: its interventions and these, on the same baseline."""
        refuse_unknown("edit", ["text"], options)
        if not interventions and not self.interventions:
            raise RequestError(expected("edit", "at least one intervention, such as iv.Ablate(…)", "none"))
        return replace(
            self.request,
            interventions=(*self.interventions, *interventions),
            baseline=self._info.baseline or self.id,
            text=TextMode.parse(text, "text"),
        )

    def edit(self, *interventions: Intervention, text: TextMode | str = TextMode.HELD, **options: Any) -> Trace:
        """Run again with interventions (docs/methods.md §8) and wait; this trace is kept as the baseline.

        text: "held" feeds the same tokens, so that every position can be compared; "free" goes on by itself.

        Raises:
            RequestError: an intervention does not fit the model or the text; the message names the range.
        """
        request = self.edit_request(*interventions, text=text, **options)
        found: Trace = self._engine.submit(request, session=self._session).result()
        return found

    def view(self, view: View[R]) -> R:
        """The record of a view request on this trace."""
        return self._engine.view(view, session=self._session)

    def save(
        self,
        path: str | Path,
        views: Iterable[str | View[Any]] | str | View[Any] | None = None,
        activations: Iterable[Site | str] | Site | str | None = None,
    ) -> Path:
        """Write the run to one `.intravisto` file, which `open_trace` opens without the model; gives the path.

        views: what it will answer, by name (`heatmap`, `flow`, …) or as view requests; None keeps the usual heatmap,
        shares, flow, last logits and sinks. activations: sites whose values are kept too, in the model's data type;
        None keeps none. Of a run that was opened from a file, None keeps what that file holds. Of an edited run the
        baseline is kept beside it.

        Raises:
            RequestError: a view or a site that there is not, or the file cannot be written.
            ModelError: a view that was asked for is not shown for this model.
        """
        return save_run(self._described(), path, views, activations)

    def _described(self) -> Described:
        engine, before = self._engine, self.baseline
        if before is not None:
            before._held = self._held
        return Described(
            trace=self,
            info=engine.describe(self.id, self._session),
            spec=engine.spec,
            card=engine.model,
            identity=dict(engine.identity),
            baseline=None if before is None else before._described(),
            held=self._held.get(self.id),
        )

    def __copy__(self) -> Trace:
        return self

    def __deepcopy__(self, _: object) -> Trace:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TraceError(
            "trace: expected to stay in this process, where its engine holds the activations; it cannot be pickled or "
            "sent to another one. Save its records, or run its request there"
        )

    def __repr__(self) -> str:
        return f"Trace({self.id!r}, {len(self.tokens)} tokens of {self._engine.model.name})"
