"""Engines among themselves, turns, and cancelling: watched by a hook of the tests' own on every module."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.request import CompareView, Generation, HeatmapView, LinkCheckView, TraceRequest
from tests.reference import plain
from tests.tiny import N_LAYERS, N_NEW, PROMPT, VOCABULARY

WAIT = 60.0


class Watch:
    """Sees every call of a decoder layer; `at(n, act)` runs `act` as the n-th call (from 0) begins."""

    def __init__(self) -> None:
        self.calls = 0
        self.modules: set[torch.nn.Module] = set()
        self._acts: dict[int, Callable[[], None]] = {}

    def at(self, call: int, act: Callable[[], None]) -> None:
        self._acts[call] = act

    def __call__(self, module: torch.nn.Module, args: object) -> None:
        self.modules.add(module)
        if type(module).__name__ in ("LlamaDecoderLayer", "GPT2Block"):
            number, self.calls = self.calls, self.calls + 1
            if act := self._acts.get(number):
                act()

    def hooks_left(self) -> int:
        """Hooks on any module that took part."""
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in self.modules)


@contextmanager
def watching() -> Iterator[Watch]:
    watch = Watch()
    handle = torch.nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        yield watch
    finally:
        handle.remove()


def request(prompt: str = PROMPT, n: int = 0) -> TraceRequest:
    return TraceRequest(prompt, Generation(max_new_tokens=n))


def submit_and_cancel(engine, watch: Watch, call: int, n: int) -> iv.Job:
    """A trace of n new tokens that is cancelled when so many layers have been called."""
    jobs: list[iv.Job] = []
    submitted = threading.Event()

    def cancel() -> None:
        submitted.wait(WAIT)
        jobs[0].cancel()

    watch.at(call, cancel)
    jobs.append(engine.submit(request(n=n)))
    submitted.set()
    return jobs[0]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_cancel_during_the_prompt(case, family):
    tiny = case(family)
    with watching() as watch:
        job = submit_and_cancel(tiny.engine, watch, 1, n=5)
        with pytest.raises(iv.IntravistoError, match="cancel"):
            job.result(WAIT)
        assert str(job.state) == "cancelled"
        assert watch.calls <= 3, "it ends at the next layer"
        assert watch.hooks_left() == 0
    again = tiny.engine.trace(PROMPT, max_new_tokens=N_NEW)
    assert [t.id for t in again.tokens] == list(tiny.ids)
    assert plain.error(again.activation("mlp_out", layer=2), tiny.run.sites["mlp_out"][2]) <= 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_cancel_during_a_step_leaves_a_marked_trace(case, family):
    tiny = case(family)
    finished_steps = 2
    with watching() as watch:
        job = submit_and_cancel(tiny.engine, watch, N_LAYERS * (1 + finished_steps) + 1, n=8)
        trace = job.result(WAIT)
        assert watch.hooks_left() == 0
    assert str(job.state) == "cancelled"
    assert trace.cancelled
    n = len(tiny.prompt_ids) + finished_steps
    assert [t.id for t in trace.tokens] == list(tiny.ids[:n])
    for site in ("resid_pre", "z", "act"):
        for layer in range(N_LAYERS):
            got = trace.activation(site, layer=layer)
            assert plain.error(got, tiny.run.sites[site][layer][..., :n, :]) <= 1e-5
    assert plain.error(trace.logits()[None], tiny.run.logits[n - 1][None]) <= 1e-5
    assert trace.heatmap().p_max.shape == (N_LAYERS + 2, n)
    assert not tiny.engine.trace(PROMPT, max_new_tokens=1).cancelled


def test_no_hook_stays_after_a_run_that_fails(case):
    tiny = case("llama")
    with watching() as watch:

        def fail() -> None:
            raise ValueError("broken on purpose")

        watch.at(2, fail)
        with pytest.raises(iv.IntravistoError, match="broken on purpose"):
            tiny.engine.trace(PROMPT)
        assert watch.hooks_left() == 0
        assert [t.id for t in tiny.engine.trace(PROMPT, max_new_tokens=8).tokens] == list(tiny.ids)


@contextmanager
def busy(engine, watch: Watch, n: int = 3) -> Iterator[tuple[object, threading.Event]]:
    """A trace that stands still in its prompt until the event is set."""
    entered, go = threading.Event(), threading.Event()

    def stand() -> None:
        entered.set()
        go.wait(WAIT)

    watch.at(0, stand)
    job = engine.submit(request(n=n), session="first")
    try:
        assert entered.wait(WAIT)
        yield job, go
    finally:
        go.set()


def test_cancel_in_the_queue(case):
    engine = case("llama").engine
    with watching() as watch, busy(engine, watch) as (first, go):
        second = engine.submit(request(n=3), session="second")
        assert str(second.state) == "queued"
        assert second.place >= 1
        second.cancel()
        go.set()
        with pytest.raises(iv.IntravistoError, match="cancel"):
            second.result(WAIT)
        assert len(first.result(WAIT).tokens) == len(case("llama").prompt_ids) + 3


def test_a_newer_view_of_a_page_takes_the_older_ones_place(case):
    engine = case("llama").engine
    mine, yours = (
        HeatmapView(engine.submit(request(), session=who).result(WAIT).id, lens="linear") for who in ("me", "you")
    )
    with watching() as watch, busy(engine, watch) as (_, go):
        old = engine.submit(mine, session="me", slot="page")
        other = engine.submit(yours, session="you", slot="page")
        elsewhere = engine.submit(mine, session="me", slot="another page")
        new = engine.submit(mine, session="me", slot="page")
        go.set()
        with pytest.raises(iv.IntravistoError, match="newer"):
            old.result(WAIT)
        for job in (other, elsewhere, new):
            assert job.result(WAIT).token_ids.shape[0] == N_LAYERS + 2


def test_a_view_goes_before_the_next_step_of_a_trace(case):
    engine = case("llama").engine
    trace = engine.submit(request(), session="second").result(WAIT)
    with watching() as watch, busy(engine, watch, n=6) as (first, go):
        view = engine.submit(HeatmapView(trace.id, lens="quadratic"), session="second")
        states = []
        watch.at(N_LAYERS, lambda: states.append(view.state))
        go.set()
        first.result(WAIT)
        assert [str(s) for s in states] == ["done"]


def test_sessions_take_turns(case):
    tiny = case("llama")
    seen = []
    with watching() as watch, busy(tiny.engine, watch, n=8) as (first, go):
        second = tiny.engine.submit(request(n=8), session="second")
        for call in range(N_LAYERS, 18 * N_LAYERS, N_LAYERS):
            watch.at(call, lambda: seen.append((first.progress.done, second.progress.done)))
        go.set()
        first.result(WAIT)
        second.result(WAIT)
    both = [(a, b) for a, b in seen if a and b]
    assert len(both) > 8
    assert max(b for a, b in seen if a < max(a for a, _ in seen)) > 0


def test_a_trace_is_its_sessions_own(case):
    engine = case("llama").engine
    trace = engine.submit(request(), session="mine").result(WAIT)
    view = HeatmapView(trace.id)
    assert engine.view(view, session="mine").trace == trace.id
    for other in ("", "yours"):
        with pytest.raises(iv.IntravistoError, match="trace"):
            engine.view(view, session=other)


@pytest.mark.parametrize("verb", ["find", "describe", "forget", "pin", "unpin"])
def test_no_verb_reaches_the_trace_of_another_session(case, verb):
    """For anybody else the trace does not exist: it is neither read, nor kept, nor dropped."""
    engine = case("llama").engine
    trace = engine.submit(request(), session="alice").result(WAIT)
    pins = engine.kept_traces.store.pinned(("trace", trace.id))
    refusals = set()
    for name, session in ((trace.id, "bob"), (trace.id, ""), ("no-such-id", "alice")):
        with pytest.raises(iv.TraceError, match="made here") as caught:
            getattr(engine, verb)(name, session)
        refusals.add(str(caught.value).replace(name, "…"))
    assert len(refusals) == 1, "it does not tell whether there is such a trace"
    assert engine.kept_traces.store.pinned(("trace", trace.id)) == pins
    assert engine.find(trace.id, "alice").text == trace.text
    trace.forget()


def test_an_edit_reaches_no_baseline_or_source_of_another_session(case):
    engine = case("llama").engine
    trace = engine.submit(request(), session="alice").result(WAIT)
    edit = iv.Ablate("mlp_out", 1)
    for asked in (
        TraceRequest(PROMPT, interventions=(edit,), baseline=trace.id),
        TraceRequest(PROMPT, interventions=(iv.Patch("mlp_out", 1, source=trace),)),
        CompareView(trace.id, trace.id),
        LinkCheckView(trace.id, iv.Link("mlp", 1, 1)),
    ):
        with pytest.raises(iv.TraceError, match="made here"):
            engine.submit(asked, session="bob").result(WAIT)
    assert trace.edit(edit).session == "alice"
    trace.forget()


def test_a_handle_keeps_its_session(case):
    """Views, edits, pins and the baseline of a trace are asked for in the session that made it."""
    engine = case("llama").engine
    trace = engine.submit(request(), session="alice").result(WAIT)
    edited = trace.edit(iv.Ablate("mlp_out", 1))
    assert edited.baseline.id == trace.id
    assert trace.logits().shape == (len(VOCABULARY),)
    edited.pin()
    assert engine.kept_traces.store.pinned(("trace", edited.id))
    edited.unpin()
    edited.forget()
    assert not engine.kept_traces.store.pinned(("trace", trace.id)), "the edit let go of its baseline"
    trace.forget()
    with pytest.raises(iv.TraceError):
        trace.logits()
    assert trace.notes == (), "what was known of it can still be read"


def test_progress_counts_up(case):
    engine = case("llama").engine
    with watching() as watch:
        done = []
        job = engine.submit(request(n=6))
        for call in range(2 * N_LAYERS, 7 * N_LAYERS, N_LAYERS):
            watch.at(call, lambda: done.append((job.progress.done, job.progress.total)))
        job.result(WAIT)
    assert done == sorted(done)
    assert job.progress.done == job.progress.total
    assert job.seconds > 0


def check_against_plain(trace, reference: plain.Run) -> None:
    assert [t.id for t in trace.tokens] == list(reference.ids)
    for site in ("resid_mid", "q", "v", "act"):
        for layer, expected in enumerate(reference.sites[site]):
            assert plain.error(trace.activation(site, layer=layer), expected) <= 1e-5, (site, layer)


def test_two_engines_in_two_threads_do_not_mix(tiny_folder):
    rounds = 12
    folders = [tiny_folder("llama", seed) for seed in (0, 1)]
    engines = [iv.open_model(str(folder)) for folder in folders]
    models = [plain.load(folder) for folder in folders]
    prompts = ["ab c!ab d", "xyz w+xyz"]
    references = []
    for model, folder, prompt in zip(models, folders, prompts, strict=True):
        ids = plain.generate(model, plain.tokenizer(folder)(prompt).input_ids, 5)
        references.append(plain.run(model, ids))
    barrier = threading.Barrier(2)

    def work(which: int) -> None:
        for _ in range(rounds):
            barrier.wait(WAIT)
            trace = engines[which].trace(prompts[which], max_new_tokens=5)
            check_against_plain(trace, references[which])

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work, which) for which in range(2)]:
            future.result(2 * WAIT)
    for engine in engines:
        engine.close()


def test_two_threads_on_one_engine_do_not_mix(case):
    tiny = case("gpt2")
    prompts = ["ab c!ab d", "xyz w+xyz", "q", "mnop"]
    tokenizer = plain.tokenizer(tiny.folder)
    references = [plain.run(tiny.model, plain.generate(tiny.model, tokenizer(p).input_ids, 4)) for p in prompts]

    def work(which: int) -> None:
        for _ in range(4):
            check_against_plain(tiny.engine.trace(prompts[which], max_new_tokens=4), references[which])

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, which) for which in range(4)]:
            future.result(2 * WAIT)


def test_the_same_request_has_the_same_fingerprint_and_another_id(case):
    engine = case("llama").engine
    first, second, other = (engine.trace(p, max_new_tokens=n) for p, n in ((PROMPT, 2), (PROMPT, 2), (PROMPT, 3)))
    assert first.fingerprint == second.fingerprint
    assert first.id != second.id
    assert other.fingerprint != first.fingerprint
    assert case("gpt2").engine.trace(PROMPT, max_new_tokens=2).fingerprint != first.fingerprint
    np.testing.assert_array_equal(first.logits(), second.logits())


def test_a_trace_is_a_handle_that_stays_in_its_process(case):
    trace = case("llama").trace
    assert copy.copy(trace) is trace
    assert copy.deepcopy({"kept": trace})["kept"] is trace
    with pytest.raises(iv.TraceError, match=r"pickled.*Save its records"):
        pickle.dumps(trace)
