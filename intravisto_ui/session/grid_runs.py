"""Grids of many runs (patches, sweeps of edits, tests of a claim): jobs of the engine that pages poll, cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from intravisto_core.engine import Engine, Job
from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_core.request import ModelSpec, View
from intravisto_ui.session.selection import Report

_numbers = itertools.count(1)
Asked = TypeVar("Asked", bound=View[Any])


@dataclass
class GridRun(Generic[Asked]):
    """Requests that are computed one after the other, for as long as nobody cancels them.

    rev: names this run among all. spec: of the model. chosen: the cell that the user looks at, as the script names it.
    going: a click that leads elsewhere and was not followed yet.
    """

    spec: ModelSpec
    requests: tuple[Asked, ...]
    jobs: tuple[Job, ...]
    rev: str = field(default_factory=lambda: f"grid-{next(_numbers)}")
    chosen: dict[str, Any] | None = None
    going: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return any(not job.state.ended for job in self.jobs)

    def read(self) -> list[Any]:
        """The records, as far as each is there by now; of one that has not begun there is none.

        Raises:
            IntravistoError: why there will be none.
        """
        found, failure = [], None
        for job in self.jobs:
            try:
                record = job.result(timeout=0) if job.state.ended else job.progress.partial
            except Cancelled:
                continue
            except IntravistoError as error:
                failure = failure or error
                continue
            if record is not None:
                found.append(record)
        if failure is not None and not found:
            raise failure
        return found

    @property
    def failure(self) -> Exception | None:
        """Why a part of it is missing, if one is."""
        errors = (job.error for job in self.jobs if job.state.ended)
        return next((error for error in errors if error is not None and not isinstance(error, Cancelled)), None)

    def progress(self) -> tuple[int, int, str]:
        """How much is done of how much, and what goes on now."""
        now = next((job for job in self.jobs if not job.state.ended), None)
        if now is None:
            return 1, 1, ""
        if now.place > 0:
            return 0, 0, f"Waiting: {now.place} before this one"
        return now.progress.done, now.progress.total, now.progress.text

    def find(self, what: str) -> tuple[Asked, Any] | None:
        """The request for one kind of values, and its record, as far as that is there."""
        asked = next((asked for asked in self.requests if getattr(asked, "what", None) == what), None)
        record = next((record for record in self.read() if record.what == what), None)
        return None if asked is None or record is None else (asked, record)

    def take_act(self, act: Report, ways: Collection[str]) -> None:
        """Take what the user did on the picture. ways: what leads elsewhere, to be followed when it is drawn again."""
        if not act or act.get("rev") != self.rev:
            return
        self.chosen = {name: act[name] for name in ("block", "layer", "column") if name in act} or None
        if act.get("do") == "cancel":
            self.cancel()
        elif act.get("do") in ways:
            self.going = dict(act)

    def pop_act(self) -> tuple[dict[str, Any], Asked, Any] | None:
        """What leads elsewhere, once, with the request and the record of the grid that was clicked."""
        act, self.going = self.going, None
        found = None if act is None else self.find(act["block"])
        return None if act is None or found is None else (act, *found)

    def read_quietly(self) -> list[Any]:
        """What is there by now; nothing where it failed, which the picture says."""
        try:
            return self.read()
        except IntravistoError:
            return []

    def describe_progress(self) -> dict[str, Any] | None:
        """How far the grids are, for their picture; None when they are done."""
        if not self.running:
            return None
        done, total, text = self.progress()
        ended = sum(job.state.ended for job in self.jobs)
        words = [f"{done:,} of {total:,} cells" if total else text or "beginning", "every fourth layer first"]
        if ended + 1 < len(self.jobs):
            words.append("another grid next")
        return {"done": done, "total": total, "text": " · ".join(words), "cancel": True}

    def cancel(self) -> None:
        """Stop; what was made stays."""
        for job in self.jobs:
            job.cancel()


def begin(engine: Engine, spec: ModelSpec, requests: tuple[Asked, ...], session: str, slot: str) -> GridRun[Asked]:
    """Ask for records; those of an earlier run in the same place end.

    Raises:
        IntravistoError: a request does not fit, or too much waits already.
    """
    jobs = [engine.submit(asked, session=session, slot=f"{slot}-{i}") for i, asked in enumerate(requests)]
    return GridRun(spec, requests, tuple(jobs))
