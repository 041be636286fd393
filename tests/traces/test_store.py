"""Traces under a byte budget: what leaves, what stays, and that what left comes back with the same numbers."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from transformers import LlamaForCausalLM

import intravisto_core as iv
from intravisto_core.models import Weights
from intravisto_core.traces.byte_store import ByteStore
from tests import tiny
from tests.engine.test_engine import WAIT, request, watching

PROMPT = tiny.PROMPT
RUNS = {
    "prompt alone": {},
    "greedy": {"max_new_tokens": 6},
    "to the end of text": {"max_new_tokens": 40},
    "sampled": {"max_new_tokens": 6, "temperature": 1.3, "seed": 4},
    "forced": {"max_new_tokens": 6, "forced": "XYZ"},
    "stopped": {"max_new_tokens": 8, "stop": ["+"]},
}


@pytest.fixture(scope="module")
def forgetful(tiny_llama):
    """An engine whose store holds one thing at a time."""
    engine = iv.LocalEngine(iv.ModelSpec(str(tiny_llama)), store_bytes=1)
    yield engine
    engine.close()


@pytest.mark.parametrize("run", RUNS)
def test_an_evicted_trace_comes_back_with_the_same_numbers(forgetful, case, run):
    trace = forgetful.trace(PROMPT, **RUNS[run])
    first = {site: trace.activation(site, layer=1) for site in ("resid_pre", "q", "z", "act")}
    logits = [trace.logits(p) for p in range(len(trace.tokens))]
    tokens = trace.tokens
    other = forgetful.trace("xyz", max_new_tokens=3)
    assert ("trace", trace.id) not in forgetful.kept_traces.store
    assert other.logits().shape == logits[0].shape

    for site, values in first.items():
        np.testing.assert_array_equal(trace.activation(site, layer=1), values)
    np.testing.assert_array_equal([trace.logits(p) for p in range(len(tokens))], logits)
    assert trace.tokens == tokens
    assert not any("eviction" in note for note in trace.notes), "the same calls give the same bits"


def test_views_of_an_evicted_trace_are_those_of_a_kept_one(forgetful, case):
    kept = case("llama").trace
    trace = forgetful.trace(PROMPT, max_new_tokens=tiny.N_NEW)
    assert trace.fingerprint == kept.fingerprint
    for options in (
        {"lens": "linear", "watch": ["X", "ab", "c"]},
        {"component": "mlp", "watch": ["X", "c"]},
        {"reading": "iterative"},
        {"lens": "max", "watch": ["X", "c"]},
    ):
        forgetful.trace("xyz")
        got, expected = trace.heatmap(**options), kept.heatmap(**options)
        np.testing.assert_array_equal(got.token_ids, expected.token_ids)
        np.testing.assert_allclose(got.logits, expected.logits, atol=1e-5, equal_nan=True)
        for one, another in zip(got.watch, expected.watch, strict=True):
            np.testing.assert_array_equal(one.rank, another.rank)
    np.testing.assert_allclose(trace.shares().mlp, kept.shares().mlp, atol=1e-6)


def test_a_pinned_trace_stays(forgetful):
    pinned = forgetful.trace(PROMPT)
    pinned.pin()
    for prompt in ("ab", "cd", "ef"):
        forgetful.trace(prompt)
    assert ("trace", pinned.id) in forgetful.kept_traces.store
    pinned.unpin()
    forgetful.trace("gh")
    assert ("trace", pinned.id) not in forgetful.kept_traces.store


def test_a_cancelled_and_evicted_trace_comes_back(forgetful):
    with watching() as watch:
        jobs, submitted = [], threading.Event()

        def cancel() -> None:
            submitted.wait(WAIT)
            jobs[0].cancel()

        watch.at(3 * tiny.N_LAYERS + 1, cancel)
        jobs.append(forgetful.submit(request(n=8)))
        submitted.set()
        trace = jobs[0].result(WAIT)
    assert trace.cancelled
    values = trace.activation("resid_post", layer=2)
    forgetful.trace("xyz")
    np.testing.assert_array_equal(trace.activation("resid_post", layer=2), values)
    assert trace.cancelled


def test_the_budget_is_kept(tiny_gpt2):
    budget = 600_000
    engine = iv.LocalEngine(iv.ModelSpec(str(tiny_gpt2)), store_bytes=budget)
    traces = [engine.trace("abcdefgh"[: 3 + i % 5], max_new_tokens=4) for i in range(12)]
    for trace in traces:
        trace.heatmap(lens="linear")
        trace.shares("kl")
        assert engine.kept_traces.store.nbytes <= budget
    assert len(engine.kept_traces.store) > 0
    engine.close()


def test_a_view_of_a_known_kind_does_not_decode_again(case, monkeypatch):
    trace = case("llama").engine.trace(PROMPT, max_new_tokens=3)
    trace.heatmap(lens="quadratic", watch=["X"])

    def decoded_again(*args: object) -> None:
        raise AssertionError("this tile was made before")

    monkeypatch.setattr(Weights, "chunks", decoded_again)
    part = trace.heatmap(lens="quadratic", rows=[1, 2], positions=[0, 3], top_k=12, watch=["X"])
    assert part.token_ids.shape == (2, 2, 12)
    with pytest.raises(iv.IntravistoError, match="made before"):
        trace.heatmap(lens="linear")


def test_what_was_not_captured_is_said(case):
    trace = case("llama").engine.trace(PROMPT, sites=["mlp_out"])
    assert trace.logits().shape == (len(tiny.VOCABULARY),)
    for ask in (trace.heatmap, trace.shares, lambda: trace.pattern(0, 0), lambda: trace.activation("z", 0)):
        with pytest.raises(iv.IntravistoError, match="sites"):
            ask()


def test_the_least_recently_used_leaves_first():
    store = ByteStore(10)
    for name in "abc":
        store.put(name, name, 3)
    assert store.get("a") == "a"
    store.put("d", "d", 3)
    assert [n in store for n in "abcd"] == [True, False, True, True]
    assert store.nbytes == 9


def test_pins_count_and_what_is_too_large_is_kept_while_new():
    store = ByteStore(10)
    store.put("a", "a", 6)
    store.pin("a")
    store.pin("a")
    store.unpin("a")
    store.put("b", "b", 50)
    assert "a" in store
    assert "b" in store
    store.unpin("a")
    store.put("c", "c", 1)
    assert [n in store for n in "abc"] == [False, False, True]


def test_the_pins_of_an_owner_who_is_away_keep_nothing():
    store = ByteStore(budget=10)
    for key, owner in (("a", "one"), ("b", "other")):
        store.put(key, key, 5)
        store.pin(key, owner)
    store.rest("one")
    store.put("c", "c", 5)
    assert ("a" in store, "b" in store) == (False, True)
    store.put("a", "a", 5)
    store.resume("one")
    store.put("d", "d", 5)
    assert ("a" in store, "b" in store, "c" in store) == (True, True, False)


def test_a_session_that_rests_finds_its_trace_again(forgetful):
    """Its activations may have left, and are made again."""
    pinned = forgetful.trace(PROMPT)
    pinned.pin()
    before = pinned.logits(position=-1)
    forgetful.rest("")
    forgetful.trace(PROMPT + "b")
    forgetful.trace(PROMPT + "bc")
    assert ("trace", pinned.id) not in forgetful.kept_traces.store
    forgetful.resume("")
    assert np.array_equal(pinned.logits(position=-1), before)
    forgetful.trace(PROMPT + "b")
    forgetful.trace(PROMPT + "bc")
    assert ("trace", pinned.id) in forgetful.kept_traces.store, "it is pinned as before"
    pinned.unpin()


def test_putting_a_thing_again_replaces_it():
    store = ByteStore(10)
    store.put("a", 1, 6)
    store.put("a", 2, 7)
    assert store.get("a") == 2
    assert store.nbytes == 7


def networks() -> int:
    gc.collect()
    return sum(isinstance(o, LlamaForCausalLM) for o in gc.get_objects())


def test_a_closed_engine_gives_its_memory_back(tiny_llama):
    before = networks()
    engine = iv.open_model(str(tiny_llama))
    trace = engine.trace(PROMPT)
    assert networks() == before + 1
    engine.close()
    assert networks() == before
    with pytest.raises(iv.IntravistoError):
        trace.heatmap()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(tiny_llama, clock):
    """A pool with room for one tiny model and a half, on a clock of the test's own."""
    weights = (tiny_llama / "model.safetensors").stat().st_size
    pool = iv.Pool(byte_budget=int(1.5 * weights), lease_seconds=60, clock=clock)
    yield pool
    pool.close()


def test_sessions_share_an_engine(pool, tiny_llama):
    spec = iv.ModelSpec(str(tiny_llama))
    assert pool.lease(spec, session="a") is pool.lease(spec, session="b")
    assert pool.specs == (spec,)


def test_a_leased_model_is_not_taken_and_the_refusal_says_until_when(pool, clock, tiny_llama, tiny_folder):
    first, second = iv.ModelSpec(str(tiny_llama)), iv.ModelSpec(str(tiny_folder("llama", 1)))
    engine = pool.lease(first, session="a")
    clock.now += 20
    with pytest.raises(iv.BusyError, match="40 s"):
        pool.lease(second, session="b")
    assert engine.trace("ab").prompt_length == 3

    clock.now += 41
    other = pool.lease(second, session="b")
    assert pool.specs == (second,)
    assert other.trace("ab").prompt_length == 3
    with pytest.raises(iv.IntravistoError, match="clos"):
        engine.trace("ab")


def test_a_released_model_makes_room_at_once(pool, tiny_llama, tiny_folder):
    first, second = iv.ModelSpec(str(tiny_llama)), iv.ModelSpec(str(tiny_folder("llama", 1)))
    pool.lease(first, session="a")
    pool.lease(first, session="b")
    pool.release(first, session="a")
    with pytest.raises(iv.BusyError):
        pool.lease(second, session="c")
    pool.release(first, session="b")
    pool.lease(second, session="c")
    assert pool.specs == (second,)


def test_idle_models_are_dropped_and_their_memory_returns(pool, clock, tiny_llama):
    spec = iv.ModelSpec(str(tiny_llama))
    before = networks()
    pool.lease(spec, session="a")
    assert pool.drop_idle() == []
    clock.now += 61
    assert pool.drop_idle() == [spec]
    assert networks() == before


def test_a_model_that_cannot_be_opened_leaves_the_pool_as_it_was(pool, tiny_llama, tmp_path):
    good = iv.ModelSpec(str(tiny_llama))
    pool.lease(good, session="a")
    with pytest.raises(iv.ModelError):
        pool.lease(iv.ModelSpec(str(tmp_path)), session="b")
    assert pool.specs == (good,)
    assert pool.lease(good, session="b").trace("ab").prompt_length == 3
