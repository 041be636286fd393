"""Saved runs as an engine of their own: the same handles and views, without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from intravisto_core.engine.asking import Asking
from intravisto_core.engine.base import Trace
from intravisto_core.engine.job import Job
from intravisto_core.engine.saving import NAMED_SETS, NAMED_VIEWS, Held
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import IntravistoError, NotSavedError, RequestError, TraceError, expected, show_value
from intravisto_core.records import Activation, MemoryEstimate, ModelCard, Token
from intravisto_core.request import (
    ActivationView,
    ActiveTextsRequest,
    DecodeRequest,
    DirectionRequest,
    HeadCompositionRequest,
    HeadTypesRequest,
    ModelSpec,
    ModuleRequest,
    Request,
    TraceBatch,
    TraceRequest,
    Turn,
    View,
    from_json,
    with_tensors,
)
from intravisto_core.request.fields import read_path_of_file
from intravisto_core.request.ranges import index, rows_of_step
from intravisto_core.sites import JobState, Site
from intravisto_core.storage import Sizes, Stored, check_stored, find_answer, read_bundle, read_plain
from intravisto_core.storage.kinds import RECORDS
from intravisto_core.storage.narrow import widen

# views that are of no trace
OF_MODEL = (HeadTypesRequest, HeadCompositionRequest)
R = TypeVar("R")

NOT_HELD: dict[type, str] = {
    TraceRequest: "a new run",
    TraceBatch: "new runs",
    DirectionRequest: "a direction from prompts",
    ActiveTextsRequest: "runs of other texts",
    DecodeRequest: "vectors of one's own",
    ModuleRequest: "the modules of the model",
}


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a file."""

    info: TraceInfo
    stored: tuple[Stored, ...]
    activations: Mapping[tuple[Site, int], str]
    missing: tuple[str, ...]


class SavedEngine(Asking):
    """The runs of one file. It answers the views whose records it holds, and refuses others with what would help.

    Raises:
        TraceError: the file is no saved run, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | Path, most_bytes: int | None = None) -> None:
        self._path = read_path_of_file(path, "path")
        self._bundle = read_bundle(self._path, most_bytes)
        try:
            manifest = self._bundle.manifest
            self._spec = _request(manifest.get("spec"), ModelSpec)
            self._card = read_plain(ModelCard, manifest.get("card"), self._bundle.array, "card")
            self.identity = {str(k): str(v) for k, v in dict(manifest.get("identity", {})).items()}
            runs = [self._read_run(body, f"run {i}") for i, body in enumerate(_list(manifest["runs"]))]
        except IntravistoError as error:
            raise TraceError(f"{self._path}: expected a saved run; {error}") from None
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
            raise TraceError(f"{self._path}: expected a saved run; its parts do not fit: {error}") from None
        if not runs:
            raise TraceError(f"{self._path}: expected a saved run; the file holds none")
        self._runs: dict[str, _Run] = {run.info.id: run for run in runs}
        self.first = runs[0].info.id

    @property
    def spec(self) -> ModelSpec:
        """Which model the runs are of, and how it was opened."""
        return self._spec

    @property
    def model(self) -> ModelCard:
        """The model that the runs are of, with what its self-check had found."""
        return self._card

    def finish_check(self, timeout: float | None = None) -> ModelCard:
        """The card as it was saved: nothing is checked here."""
        return self._card

    @property
    def busy(self) -> bool:
        """Never: every answer is at hand."""
        return False

    def tokenize(
        self, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
    ) -> tuple[Token, ...]:
        """Refused: it takes the model's tokenizer."""
        self._refuse("tokens of a new text")

    def estimate(
        self,
        prompt_tokens: int,
        new_tokens: int = 0,
        sites: Sequence[Site] | None = None,
        whitened: bool = False,
        modules: str | Sequence[str] = (),
    ) -> MemoryEstimate:
        """Refused: it takes the model."""
        self._refuse("an estimate of a new run")

    def expected_seconds(self, prompt_tokens: int, new_tokens: int = 0) -> float | None:
        """None: nothing is run here."""
        return None

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """A job that has ended already: with the record of a view that is held, else with the reason."""
        job = Job(request, session)
        try:
            job.end(JobState.DONE, self._answer(request))
        except IntravistoError as error:
            job.end(JobState.FAILED, error=error)
        return job

    def view(self, view: View[R], *, session: str = "", slot: str = "") -> R:
        """The record of a view that is held.

        Raises:
            NotSavedError: the file has not what it asks for; the message names what it has.
        """
        found: R = self._answer(view)
        return found

    def add_dictionary(self, path: Any, **options: Any) -> NoReturn:
        """Refused: features are made of activations that a file does not hold."""
        self._refuse("what features of another dictionary are made of")

    def hook(self, *, session: str = "") -> NoReturn:
        """Refused: it takes the model."""
        self._refuse("new runs, so that there is nothing to put hooks around")

    def find(self, trace: str, session: str = "") -> Trace:
        """The handle of a trace of the file.

        Raises:
            TraceError: it holds none of that id.
        """
        return Trace(self, self.describe(trace, session), session, self.held)

    @cached_property
    def held(self) -> Mapping[str, Held]:
        """What the file holds of each trace."""
        versions = {str(k): str(v) for k, v in dict(self._bundle.manifest.get("versions", {})).items()}
        return {
            id: Held(
                tuple(each.view for each in run.stored),
                tuple(site for site in Site if any(kept is site for kept, _ in run.activations)),
                run.missing,
                versions,
            )
            for id, run in self._runs.items()
        }

    def describe(self, trace: str, session: str = "") -> TraceInfo:
        """What is known of a trace.

        Raises:
            TraceError: see `find`.
        """
        return self._run(trace).info

    def forget(self, trace: str, session: str = "") -> None:
        """Nothing: the file stays as it is."""

    def pin(self, trace: str, session: str = "") -> None:
        """Nothing: what is held stays."""

    def unpin(self, trace: str, session: str = "") -> None:
        """Nothing: what is held stays."""

    def rest(self, session: str) -> None:
        """Nothing: what is held stays."""

    def resume(self, session: str) -> None:
        """Nothing: what is held stays."""

    def close(self) -> None:
        """Nothing: no model is held."""

    def __repr__(self) -> str:
        return f"SavedEngine({self._path.name!r}, {self._card.name})"

    def _read_run(self, body: Any, name: str) -> _Run:
        get = self._bundle.array
        kept = {(Site.parse(a["site"], "site"), int(a["layer"])): str(a["array"]) for a in _list(body["activations"])}
        for array in kept.values():
            get(array)
        arrays = {n.removeprefix("tensor."): a for n, a in self._bundle.arrays.items() if n.startswith("tensor.")}
        request = with_tensors(_request(body["request"], TraceRequest), arrays)
        info = read_plain(TraceInfo, body["info"], get, name, request=request)
        stored = tuple(
            self._read_stored(each, info, arrays, f"{name} view {i}") for i, each in enumerate(_list(body["views"]))
        )
        return _Run(info, stored, kept, tuple(map(str, _list(body["missing"]))))

    def _read_stored(self, body: Any, info: TraceInfo, arrays: Mapping[str, np.ndarray], name: str) -> Stored:
        kind = RECORDS.get(body["kind"])
        if kind is None:
            raise TraceError(expected(name, f"a record of {', '.join(sorted(RECORDS))}", body["kind"]))
        record = read_plain(kind, body["record"], self._bundle.array, name)
        check_stored(record, name, info.id, self._card.n_layers, len(info.tokens))
        return Stored(with_tensors(_request(body["view"], View), arrays), record)

    def _run(self, trace: Any) -> _Run:
        if not isinstance(trace, str) or trace not in self._runs:
            raise TraceError(f"trace: expected one of this file: {', '.join(self._runs)}; got {show_value(trace)}")
        return self._runs[trace]

    def _answer(self, view: Any) -> Any:
        if type(view) in NOT_HELD:
            self._refuse(NOT_HELD[type(view)])
        if not isinstance(view, View):
            raise RequestError(expected("request", "a view", type(view).__name__))
        # what is known of the model itself is kept with the first run
        run = self._run(self.first if isinstance(view, OF_MODEL) else getattr(view, "trace", None))
        length = len(run.info.tokens)
        found = find_answer(view, run.stored, Sizes(self._card.n_layers, self._card.n_heads, length))
        if found is None and isinstance(view, ActivationView):
            found = self._activation(run, view)
        if found is None:
            held = ", ".join(sorted({type(each.view).__name__ for each in run.stored})) or "no view"
            why = f" When it was saved, the model did not show: {'; '.join(run.missing)}." if run.missing else ""
            self._refuse(f"{type(view).__name__} with these options", f" It holds {held}.{why}")
        return found

    def _activation(self, run: _Run, view: ActivationView) -> Activation | None:
        layer, head = index(view.layer, self._card.n_layers, "layer"), view.head
        name = run.activations.get((view.site, layer))
        if name is None:
            return None
        rows = rows_of_step(view.step, run.info.prompt_length, len(run.info.tokens))
        values = widen(self._bundle.array(name))
        if head is not None:
            if not view.site.per_head:
                raise RequestError(f"head: {view.site} is not split by head. Leave the head out")
            head = index(head, len(values), "head")
            values = values[head]
        values = values[rows] if values.ndim == 2 else values[:, rows]
        return Activation(run.info.id, view.site, layer, head, np.ascontiguousarray(values), self._card.name, view.step)

    def _refuse(self, what: str, more: str = "") -> NoReturn:
        names = ", ".join((*NAMED_VIEWS, *NAMED_SETS))
        raise NotSavedError(
            f"{self._path.name}: a saved run does not hold {what}.{more} Save it again with `views` (by name: {names}; "
            "or view requests) or `activations`, or open it with its model: open_trace(path, engine=engine)"
        )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TraceError(expected("saved run", "a list", type(value).__name__))
    return value


def _request(text: Any, kind: type[R]) -> R:
    found = from_json(text) if isinstance(text, str) else None
    if not isinstance(found, kind):
        raise TraceError(expected("saved run", f"a {kind.__name__} as JSON", type(found).__name__))
    return found
