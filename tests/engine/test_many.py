"""Many sessions on one engine: right answers, bounded memory, and nothing left behind by cancels."""

from __future__ import annotations

import gc
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.engine import LocalEngine
from intravisto_core.request import Generation, HeatmapView, TraceRequest
from tests import tiny
from tests.inside import count_waiting

PROMPTS = ["ab c!ab d", "xyz w+xyz", "q", "mnop", tiny.PROMPT]
WAIT = 60.0
N_NEW = 20


def ids_of(trace: iv.Trace) -> list[int]:
    return [t.id for t in trace.tokens]


def hooks_of(engine: LocalEngine) -> int:
    """Hooks on any module of an engine's network."""
    modules = engine.kept_traces.model.network.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def is_whole(trace: iv.Trace) -> bool:
    """Whether a run came to its end; a cancel that arrives as it does so takes nothing from it."""
    new = trace.tokens[trace.prompt_length :]
    return len(new) == N_NEW or (len(new) > 0 and new[-1].is_special)


@pytest.fixture
def engine(tiny_llama):
    made = LocalEngine(iv.ModelSpec(str(tiny_llama)), store_bytes=400_000)
    yield made
    made.close()


def test_twenty_sessions_get_their_own_right_answers_in_bounded_memory(engine):
    expected = {p: engine.trace(p, max_new_tokens=4) for p in PROMPTS}
    answers = {p: (ids_of(t), t.heatmap(lens="linear").p_max) for p, t in expected.items()}

    def session(number: int) -> None:
        name, draw = f"session {number}", random.Random(number)
        for _ in range(3):
            prompt = draw.choice(PROMPTS)
            trace = engine.submit(TraceRequest(prompt, Generation(4)), session=name).result(WAIT)
            grid = engine.view(HeatmapView(trace.id, lens="linear"), session=name, slot="heatmap")
            ids, p_max = answers[prompt]
            assert ids_of(trace) == ids
            np.testing.assert_allclose(grid.p_max, p_max, atol=1e-6)

    with ThreadPoolExecutor(20) as pool:
        for future in [pool.submit(session, n) for n in range(20)]:
            future.result(2 * WAIT)
    assert engine.kept_traces.store.nbytes <= engine.kept_traces.store.budget
    assert count_waiting(engine) == 0


def test_a_hundred_cancels_leave_no_thread_hook_or_trace_behind(engine):
    engine.trace(PROMPTS[0])
    gc.collect()
    threads, entries = threading.active_count(), len(engine.kept_traces)
    draw, jobs = random.Random(0), []
    for i in range(100):
        session = f"session {i % 7}"
        jobs.append(engine.submit(TraceRequest(draw.choice(PROMPTS), Generation(N_NEW)), session=session))
        if draw.random() < 0.5:
            time.sleep(draw.random() * 0.01)
        draw.choice(jobs).cancel()
        jobs[-1].cancel()
    for job in jobs:
        try:
            assert job.result(WAIT).cancelled or is_whole(job.result())
        except iv.Cancelled:
            assert str(job.state) == "cancelled"
    finished = sum(job.error is None for job in jobs)
    assert len(engine.kept_traces) == entries + finished, "a cancelled prompt leaves no trace"
    assert hooks_of(engine) == 0
    assert threading.active_count() == threads
    assert count_waiting(engine) == 0
    assert ids_of(engine.trace(PROMPTS[1], max_new_tokens=4))


def test_closing_ends_the_thread_and_frees_the_network(tiny_llama):
    threads = threading.active_count()
    engine = LocalEngine(iv.ModelSpec(str(tiny_llama)))
    job = engine.submit(TraceRequest(PROMPTS[0], Generation(40)))
    engine.close()
    assert job.state.ended
    assert threading.active_count() == threads
    with pytest.raises(iv.IntravistoError, match="closed"):
        engine.submit(TraceRequest(PROMPTS[0]))
