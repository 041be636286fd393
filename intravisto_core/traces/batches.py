"""Many prompts: run together in padded batches where that is exact, else one by one, with the reason."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_core.models import LoadedModel
from intravisto_core.models.free_memory import free_bytes
from intravisto_core.models.run_memory import cache_bytes, captured_bytes
from intravisto_core.progress import Progress, relay_positions
from intravisto_core.request import Apply, Generation, TraceRequest
from intravisto_core.request.functions import count_arguments
from intravisto_core.sites import Site, TextMode
from intravisto_core.traces.edited_runs import FUNCTIONS_IN_FULL, bind_edit, remember_edit, run_edit
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.plain_runs import run_plain
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, prepare_in_turns
from intravisto_core.tracing.batch_run import Row, find_batch_obstacle, fits_one_call, run_batch
from intravisto_core.tracing.edited import EditedData
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.preparing import Prepared

MOST_ROWS = 64
PART_OF_FREE = 0.5

Answer = TraceEntry | IntravistoError
Kind = tuple[Generation, tuple[Site, ...] | None]


@dataclass(slots=True)
class _Asked:
    """One request of the list. plain: without its interventions. answer: what its place in the list comes to hold."""

    index: int
    request: TraceRequest
    plain: TraceRequest
    prepared: Prepared | None = None
    answer: Answer | None = None

    @property
    def kind(self) -> Kind:
        """Requests of one kind may share a pass."""
        return self.plain.generation, self.plain.sites

    def fail(self, error: IntravistoError) -> None:
        """The error takes the answer's place."""
        self.answer = error


def run_many(
    traces: Traces, requests: Sequence[TraceRequest], session: str, control: RunControl
) -> Generator[Progress, None, list[Answer]]:
    """Each request's trace, in order, or the error in its place; each equals its run alone (docs/methods.md §11).

    Raises:
        Cancelled: before there was anything.
    """
    asked = [
        _Asked(i, r, replace(r, interventions=(), text=TextMode.FREE) if r.interventions else r)
        for i, r in enumerate(requests)
    ]
    for each in asked:
        try:
            each.prepared = yield from prepare_in_turns(traces.model, each.plain)
        except IntravistoError as error:
            each.fail(error)
    yield from _run_plain_ones(traces, asked, session, control)
    yield from _run_edits(traces, asked, session, control)
    answers = [each.answer or Cancelled("cancelled before this prompt's turn") for each in asked]
    if answers and all(isinstance(answer, Cancelled) for answer in answers):
        raise Cancelled("cancelled before there was anything to show")
    return answers


def _run_plain_ones(
    traces: Traces, asked: list[_Asked], session: str, control: RunControl
) -> Generator[Progress, None, None]:
    open_ones = [each for each in asked if each.prepared is not None]
    alone: list[tuple[_Asked, str]] = []
    together: dict[Kind, list[_Asked]] = {}
    for each in open_ones:
        assert each.prepared is not None
        if reason := find_obstacle(traces.model, each.plain, each.prepared, control):
            alone.append((each, reason))
        else:
            together.setdefault(each.kind, []).append(each)
    batches = [batch for group in together.values() for batch in _split(traces.model, group)]
    for number, batch in enumerate(batches):
        if control.cancelled:
            return
        if len(batch) == 1:
            alone.append((batch[0], ""))
            continue
        text = f"batch {number + 1} of {len(batches)}: {len(batch)} prompts"
        yield from _run_batch(traces, batch, session, control, text)
    for each, reason in alone:
        if control.cancelled:
            return
        yield from _run_alone(traces, each, session, control, reason)


def find_obstacle(model: LoadedModel, plain: TraceRequest, prepared: Prepared, control: RunControl) -> str:
    """Why an unedited prompt is run alone, or ""."""
    if reason := find_batch_obstacle(model, len(prepared.prompt) + prepared.n_new):
        return reason
    if control.callbacks:
        return "hooks are called for each prompt"
    if plain.modules:
        return "modules are kept of each prompt apart"
    if prepared.forced:
        return "its continuation is given"
    return "" if fits_one_call(model, 1, len(prepared.prompt)) else "a long prompt is read in pieces"


def find_room(model: LoadedModel) -> float:
    """Bytes that one pass may take."""
    return PART_OF_FREE * free_bytes(model.device)


def fits_together(
    model: LoadedModel, n_rows: int, longest: int, n_new: int, sites: tuple[Site, ...] | None, room: float
) -> bool:
    """Whether so many prompts may share a pass. longest: of the prompts. n_new: tokens that may follow it."""
    if n_rows > MOST_ROWS or not fits_one_call(model, n_rows, longest):
        return False
    return n_rows * _row_bytes(model, longest + n_new, sites) <= room


def _split(model: LoadedModel, group: list[_Asked]) -> list[list[_Asked]]:
    """Batches of prompts of like length, each as large as memory allows."""
    batches: list[list[_Asked]] = []
    room = find_room(model)
    for each in sorted(group, key=lambda e: len(e.prepared.prompt) if e.prepared else 0):
        assert each.prepared is not None
        n, longest = len(batches[-1]) + 1 if batches else 0, len(each.prepared.prompt)
        if n and fits_together(model, n, longest, each.prepared.n_new, each.plain.sites, room):
            batches[-1].append(each)
        else:
            batches.append([each])
    return batches


def _row_bytes(model: LoadedModel, length: int, sites: tuple[Site, ...] | None) -> int:
    """What a prompt takes in a batch: its buffers there and as a trace of its own, cache and logits."""
    size, itemsize = model.dimensions, model.dtype.itemsize
    kept = captured_bytes(size, model.blueprint.parallel, length, itemsize, sites)
    return 2 * kept + 2 * cache_bytes(size, length, itemsize) + 3 * size.d_vocab * 4


def _run_batch(
    traces: Traces, batch: list[_Asked], session: str, control: RunControl, text: str
) -> Generator[Progress, None, None]:
    rows = [Row(each.prepared, each.index) for each in batch if each.prepared is not None]
    total = sum(len(row.prepared.prompt) + row.prepared.n_new for row in rows)
    yield Progress(0, total, text)
    generation, sites = batch[0].kind
    try:
        found = yield from relay_positions(run_batch(traces.model, rows, generation, sites, control), total, text)
    except Cancelled:
        return
    for each, data in zip(batch, found, strict=True):
        if isinstance(data, IntravistoError):
            each.fail(data)
        else:
            each.answer = traces.remember(each.plain, session, data, control.new_id())


def _run_alone(
    traces: Traces, each: _Asked, session: str, control: RunControl, reason: str
) -> Generator[Progress, None, None]:
    try:
        data = yield from run_plain(traces, each.plain, control)
    except IntravistoError as error:
        each.fail(error)
        return
    each.answer = traces.remember(each.plain, session, data, control.new_id())
    if reason:
        each.answer.notes.append(f"run alone: {reason}")


def _run_edits(
    traces: Traces, asked: list[_Asked], session: str, control: RunControl
) -> Generator[Progress, None, None]:
    """The edited runs: with functions together, since these may look at other prompts; others one by one."""
    ready = [each for each in asked if isinstance(each.answer, TraceEntry)]
    edited = [each for each in ready if each.request.interventions]
    calls = [e for each in edited for e in each.request.interventions if isinstance(e, Apply)]
    rest = edited
    if calls:
        looking = any(count_arguments(call.fn) > 1 for call in calls)
        group = ready if looking else [e for e in edited if any(isinstance(i, Apply) for i in e.request.interventions)]
        if len(group) > 1 and _may_share(traces.model, group, control):
            yield from _run_functions(traces, group, session, control)
            rest = [each for each in edited if each not in group]
    for each in rest:
        if control.cancelled:
            return
        base = each.answer
        assert isinstance(base, TraceEntry)
        request = replace(each.request, baseline=base.id)
        try:
            each.answer = yield from run_edit(traces, request, session, control)
        except IntravistoError as error:
            each.fail(error)


def _may_share(model: LoadedModel, group: list[_Asked], control: RunControl) -> bool:
    """Whether edited prompts can share one pass."""
    known = [(each.plain, each.prepared) for each in group if each.prepared is not None]
    if len({each.kind for each in group}) > 1 or any(find_obstacle(model, *each, control) for each in known):
        return False
    longest = max(len(prepared.prompt) for _, prepared in known)
    return len(group) <= MOST_ROWS and fits_one_call(model, len(group), longest)


def _run_functions(
    traces: Traces, group: list[_Asked], session: str, control: RunControl
) -> Generator[Progress, None, None]:
    """One pass over all prompts of the group, those without interventions too."""
    rows: list[Row] = []
    kept: list[tuple[_Asked, TraceEntry, TraceRequest]] = []
    for each in group:
        base = each.answer
        assert isinstance(base, TraceEntry)
        assert each.prepared is not None
        if not each.request.interventions:
            rows.append(Row(each.prepared, each.index, Edits()))
            kept.append((each, base, each.plain))
            continue
        request = replace(each.request, baseline=base.id)
        try:
            bound = yield from bind_edit(traces, request, base, session, control)
        except IntravistoError as error:
            each.fail(error)
            continue
        if bound.edits.knocked or bound.edits.frozen or bound.edits.experts:
            each.answer = yield from run_edit(traces, request, session, control)
            continue
        rows.append(Row(bound.prepared, each.index, bound.edits))
        kept.append((each, base, request))
    if not any(request.interventions for _, _, request in kept):
        return
    total = sum(len(row.prepared.prompt) + row.prepared.n_new for row in rows)
    text = f"functions in one pass over {len(rows)} prompts"
    generation, sites = group[0].kind
    yield Progress(0, total, text)
    try:
        found = yield from relay_positions(run_batch(traces.model, rows, generation, sites, control), total, text)
    except Cancelled:
        return
    for (each, base, request), row, data in zip(kept, rows, found, strict=True):
        if not request.interventions:
            continue
        if isinstance(data, IntravistoError):
            each.fail(data)
            continue
        assert isinstance(data, EditedData)
        assert row.edits is not None
        data.notes = (*data.notes, *row.edits.notes, FUNCTIONS_IN_FULL)
        each.answer = remember_edit(traces, request, base, session, data, control.new_id())
