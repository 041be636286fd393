"""Unedited runs: made for the first time, made again after eviction, and the runs of a set of prompts."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from intravisto_core.experiments.identities import allowed_error, compute_relative_error
from intravisto_core.models.memory import require_room, run_estimate
from intravisto_core.models.run_memory import is_small_run
from intravisto_core.progress import Progress, relay_positions
from intravisto_core.request import TraceRequest
from intravisto_core.sites import Site
from intravisto_core.traces.entry import TraceEntry
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData, prepare_in_turns, run
from intravisto_core.tracing.prefix import find_prefix
from intravisto_core.tracing.preparing import Prepared


def run_plain(traces: Traces, request: TraceRequest, control: RunControl) -> Generator[Progress, None, TraceData]:
    """The activations of a prompt and its continuation.

    Raises:
        RequestError: the prompt does not fit the model. MemoryShortError: there is no room for the run.
    """
    prepared = yield from prepare_in_turns(traces.model, request)
    n_prompt, total = len(prepared.prompt), len(prepared.prompt) + prepared.n_new
    besides = traces.module_sizes.measure(traces.model, request.modules)
    if not is_small_run(traces.model, n_prompt, prepared.n_new, request.sites, besides):
        require_room(run_estimate(traces.model, n_prompt, prepared.n_new, request.sites, besides), "this run")
    shares = not request.modules and not control.callbacks
    prefix = find_prefix(traces.model, prepared, request.sites, traces.plain_data()) if shares else None
    known = f", whose first {prefix.n} tokens are known" if prefix else ""
    yield Progress(0, total, f"reading the prompt{known}")
    turns = run(
        traces.model,
        prepared,
        request.generation,
        request.sites,
        control,
        modules=request.modules,
        callbacks=control.callbacks,
        prefix=prefix,
    )
    if prefix is None:
        turns = traces.times.learning(turns, n_prompt)
    return (yield from relay_positions(turns, total, "generating"))


def prepare_replay(entry: TraceEntry) -> Prepared:
    """A run ready to be made again: the same ids by the same schedule of calls."""
    return Prepared.replaying(entry.ids, entry.prompt_length, entry.forced_length)


def read_plain_data(traces: Traces, entry: TraceEntry) -> Generator[Progress, None, TraceData]:
    """The activations of an unedited trace, run again where they were evicted.

    Raises:
        TraceError: it cannot be made again.
    """
    data = traces.kept_data(entry)
    if data is None:
        traces.require_repeatable(entry)
        asked = entry.request
        turns = run(traces.model, prepare_replay(entry), asked.generation, asked.sites, modules=asked.modules)
        data = yield from relay_positions(turns, entry.length, "running an evicted trace again")
        keep_again(traces, entry, data)
    return data


def keep_again(traces: Traces, entry: TraceEntry, data: TraceData) -> None:
    """Keep activations that were made again; where their logits differ from the first run's, the entry notes it."""
    traces.keep_data(entry, data)
    error = float(compute_relative_error(data.last_logits, entry.last_logits))
    note = f"run again after eviction: its logits differ from the first run's by {error:.1e}"
    if not error <= allowed_error(traces.model.dtype, traces.model.quantisation) and note not in entry.notes:
        entry.notes.append(note)


def run_prompts(
    traces: Traces, prompts: Sequence[str], sites: tuple[Site, ...], control: RunControl
) -> Generator[Progress, None, list[TraceData]]:
    """Runs of several prompts, kept in the store by their texts and sites."""
    found: list[TraceData] = []
    wanted = tuple(s for s in Site if s in sites)
    for number, prompt in enumerate(prompts):
        key = ("prompt", prompt, wanted)
        data: TraceData | None = traces.store.get(key)
        if data is None:
            request = TraceRequest(prompt, sites=wanted)
            prepared = yield from prepare_in_turns(traces.model, request)
            turns = run(traces.model, prepared, request.generation, wanted, control)
            data = yield from relay_positions(turns, len(prompts), f"prompt {number + 1} of {len(prompts)}")
            traces.store.put(key, data, data.nbytes)
        found.append(data)
    return found
