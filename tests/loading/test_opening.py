"""Opening a model in a job: shared by sessions, told in bytes, stopped by the last who waits; idle models leave."""

from __future__ import annotations

import threading

import pytest

import intravisto_core as iv
from intravisto_core.engine import opening as opening_module
from intravisto_core.engine import pool as pool_module
from tests.loading.fake_hub import GOOD_TOKEN, Faults

WAIT = 60


@pytest.fixture
def pool():
    pool = iv.Pool()
    yield pool
    pool.close()


def slow(hub, monkeypatch) -> None:
    hub.faults = Faults(trickle=0.02)


def test_a_job_gives_the_engine_and_tells_bytes(hub, pool, monkeypatch):
    told = []
    report = opening_module.Opening._report

    def kept(self, done, total, text):
        told.append((done, total, text))
        report(self, done, total, text)

    monkeypatch.setattr(opening_module.Opening, "_report", kept)
    hub.gated.add("owner/sharded")
    spec = iv.ModelSpec("owner/sharded")
    refused = pool.open(spec, session="a")
    with pytest.raises(iv.HubError, match="Accept the terms"):
        refused.result(WAIT)
    assert pool.specs == ()
    job = pool.open(spec, session="a", token=GOOD_TOKEN)
    engine = job.result(WAIT)
    assert engine.trace("ab").prompt_length == 3
    assert job.state == "done"
    texts = [text for _, _, text in told]
    assert any("file 2 of" in text for text in texts)
    assert any(text.startswith("reading model-00002-of") for text in texts)
    assert texts[-1] == "checking that what it shows will be true"
    assert any(0 < done < total for done, total, _ in told)
    again = pool.open(spec, session="b")
    assert again.result(0) is engine
    assert pool.lease(spec, session="c") is engine
    assert not [name for name in vars(pool) if GOOD_TOKEN in repr(vars(pool)[name])]


def test_a_shared_load_ends_with_the_last_who_waits(hub, pool, monkeypatch):
    slow(hub, monkeypatch)
    spec = iv.ModelSpec("tiny")
    first, second = pool.open(spec, session="a"), pool.open(spec, session="b")
    first.cancel()
    with pytest.raises(iv.Cancelled):
        first.result(WAIT)
    assert spec in pool.specs
    second.cancel()
    with pytest.raises(iv.Cancelled):
        second.result(WAIT)
    hub.faults = Faults()
    assert pool.open(spec, session="b").result(WAIT).trace("ab").prompt_length == 3
    assert pool.specs == (spec,)


def test_loading_one_does_not_hold_up_another(hub, pool, tiny_llama, monkeypatch):
    slow(hub, monkeypatch)
    waiting = pool.open(iv.ModelSpec("tiny"), session="a")
    other = iv.ModelSpec(str(tiny_llama))
    assert pool.lease(other, session="b").model.n_layers == 3
    assert pool.renew(other, session="b")
    assert not pool.renew(iv.ModelSpec("nothing/here"), session="b")
    assert waiting.state == "running"
    waiting.cancel()


def test_models_that_nobody_used_for_long_are_let_go_of(tiny_llama, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(pool_module, "SWEEP_SECONDS", 0.05)
    pool = iv.Pool(lease_seconds=60, idle_seconds=300, clock=lambda: now[0])
    pool.lease(iv.ModelSpec(str(tiny_llama)), session="a")
    now[0] += 200
    assert pool.drop_idle(pool.idle_seconds) == []
    now[0] += 200
    for _ in range(200):
        if not pool.specs:
            break
        threading.Event().wait(0.05)
    assert pool.specs == ()
    pool.close()


def test_an_error_that_is_kept_keeps_no_model(tiny_llama, monkeypatch):
    import gc

    from transformers import LlamaForCausalLM

    from intravisto_core.engine import local

    def broken(model: object) -> None:
        raise RuntimeError("in the self-check")

    def networks() -> int:
        gc.collect()
        return sum(isinstance(o, LlamaForCausalLM) for o in gc.get_objects())

    before = networks()
    monkeypatch.setattr(local, "Checking", broken)
    pool = iv.Pool()
    job = pool.open(iv.ModelSpec(str(tiny_llama)))
    with pytest.raises(iv.ModelError, match="in the self-check") as caught:
        job.result(WAIT)
    kept = job.error
    del job, caught
    assert kept is not None
    assert networks() == before
    pool.close()
