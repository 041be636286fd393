"""Small runs that wait share a pass: each equals its run alone, and what happens to one leaves the others in peace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import intravisto_core as iv
from intravisto_core.engine import Job, LocalEngine, joining
from tests.engine.test_batches import assert_equal_runs
from tests.engine.test_engine import watching
from tests.tiny import N_LAYERS, PROMPT

WAIT = 600.0


@pytest.fixture(scope="module")
def engine(tiny_llama: Any) -> Iterator[LocalEngine]:
    made = LocalEngine(iv.ModelSpec(str(tiny_llama)), joining=True)
    made.finish_check()
    yield made
    made.close()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each shared pass has."""
    run, found = joining.run_batch, []
    monkeypatch.setattr(joining, "run_batch", lambda *given: found.append(len(given[1])) or run(*given))
    return found


@contextmanager
def held(engine: LocalEngine) -> Iterator[None]:
    """While somebody's run stands in its first layer; at the end it goes on."""
    entered, go = threading.Event(), threading.Event()

    def stand() -> None:
        entered.set()
        assert go.wait(WAIT)

    with watching() as watch:
        watch.at(0, stand)
        job = engine.submit(iv.TraceRequest(PROMPT), session="first")
        assert entered.wait(WAIT)
        try:
            yield
        finally:
            go.set()
        job.result(WAIT)


def whole(trace: iv.Trace, n_new: int) -> bool:
    return len(trace.tokens) == trace.prompt_length + n_new


def ask(engine: LocalEngine, *texts: Any, n_new: Any = 0, **options: Any) -> list[Job]:
    new = n_new if isinstance(n_new, list) else [n_new] * len(texts)
    asked = [iv.TraceRequest(text, iv.Generation(n, **options)) for text, n in zip(texts, new, strict=True)]
    return [engine.submit(each, session=f"user {i}") for i, each in enumerate(asked)]


def test_runs_that_wait_share_a_pass_and_equal_their_runs_alone(engine, case, passes):
    texts, n_new = ["ab c!ab", "cab", "ab c!ab", "b!a c", "ab c!ab"], [3, 5, 3, 0, 4]
    with held(engine):
        jobs = ask(engine, *texts, n_new=n_new)
    traces = [job.result(WAIT) for job in jobs]
    assert passes == [4], "equal ones are one row"
    alone = case("llama").engine
    for text, n, trace in zip(texts, n_new, traces, strict=True):
        assert_equal_runs(trace, alone.trace(text, max_new_tokens=n), N_LAYERS)
        assert trace.notes == ()
    assert len({trace.id for trace in traces}) == 5
    with pytest.raises(iv.TraceError):
        engine.find(traces[0].id, session="user 1")


def test_what_is_not_alike_or_not_small_runs_alone(engine, passes, monkeypatch):
    monkeypatch.setattr(joining, "MOST_PROMPT", 8)
    long = "ab c!" * 3
    with held(engine):
        plain = ask(engine, "ab", "cab")
        others = [
            *ask(engine, "ab", temperature=1.0, n_new=2),
            *ask(engine, long, long),
            engine.submit(iv.TraceRequest("ab", sites=["z"]), session="z"),
            engine.submit(iv.TraceRequest("ab", modules="model.norm"), session="m"),
            engine.submit(iv.TraceRequest("ab", interventions=[iv.Ablate("mlp_out", 1, "all")]), session="e"),
            engine.submit(iv.TraceRequest((10_000_000,)), session="wrong"),
        ]
    for job in (*plain, *others[:-1]):
        assert job.result(WAIT).tokens
    with pytest.raises(iv.RequestError, match="token id"):
        others[-1].result(WAIT)
    assert passes == [2]


def test_one_that_is_cancelled_leaves_its_pass_and_the_others_stay(engine, case, monkeypatch):
    jobs: list[Job] = []
    run = joining.run_batch

    def cancelling(*given: Any) -> Any:
        """The same, and one of the jobs is cancelled after two steps."""
        turns, done = run(*given), 0
        while True:
            try:
                step = next(turns)
            except StopIteration as end:
                return end.value
            done += 1
            if done == 3:
                jobs[1].cancel()
            yield step

    monkeypatch.setattr(joining, "run_batch", cancelling)
    rows: list[int] = []
    with held(engine):
        jobs += ask(engine, "ab c!", "cab", "b!a", "!!", n_new=5)
        jobs[3].cancel()
        embed = engine.kept_traces.model.blueprint.embed
        hook = embed.register_forward_hook(lambda module, given, found: rows.append(len(given[0])))
    for place in (1, 3):
        with pytest.raises(iv.IntravistoError, match="cancel"):
            jobs[place].result(WAIT)
    for i, text in ((0, "ab c!"), (2, "b!a")):
        assert_equal_runs(jobs[i].result(WAIT), case("llama").engine.trace(text, max_new_tokens=5), N_LAYERS)
    hook.remove()
    assert rows[-6:] == [3, 3, 3, 2, 2, 2], "what nobody waits for is run no more"


def test_a_pass_that_nobody_waits_for_ends(engine, monkeypatch):
    steps: list[int] = []
    run = joining.run_batch

    def counting(*given: Any) -> Any:
        for step in run(*given):
            steps.append(step)
            for job in jobs:
                job.cancel()
            yield step

    monkeypatch.setattr(joining, "run_batch", counting)
    with held(engine):
        jobs = ask(engine, "ab c!", "cab", n_new=9)
    for job in jobs:
        with pytest.raises(iv.IntravistoError, match="cancel"):
            job.result(WAIT)
    assert whole(engine.trace("cab", max_new_tokens=2), 2)
    assert len(steps) == 1


def test_a_pass_that_fails_is_run_one_by_one(engine, monkeypatch):
    def fail(*given: Any) -> Any:
        yield 1
        raise MemoryError

    monkeypatch.setattr(joining, "run_batch", fail)
    with held(engine):
        jobs = ask(engine, "ab c!", "cab", n_new=2)
    assert all(whole(job.result(WAIT), 2) for job in jobs)
