"""A model is used while the rest of its self-check runs: nothing is shown before what it rests on is measured."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.architectures import find, registry
from intravisto_core.engine import checking
from intravisto_core.experiments import identities, self_check
from intravisto_core.models import load
from intravisto_core.sites import Capability

FIRST = ("residual", "logits")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No model is small; what is measured after opening is measured when this is set."""
    monkeypatch.setattr(checking, "SMALL", 0)
    event, opening = threading.Event(), threading.get_ident()
    inner = self_check.SelfCheck.advance

    def advance(self: self_check.SelfCheck) -> None:
        assert threading.get_ident() == opening or event.wait(60)
        inner(self)

    monkeypatch.setattr(self_check.SelfCheck, "advance", advance)
    yield event
    event.set()


def test_it_opens_with_everything_pending_and_gives_no_number_before_identities_1_to_3(gate, tiny_llama):
    engine = iv.open_model(str(tiny_llama))
    card = engine.model
    assert card.pending == tuple(Capability)
    assert all(not card.capabilities[c].ok and card.capabilities[c].reason for c in card.pending)
    assert "pending" in repr(card.capabilities["heads"])
    job = engine.submit(iv.TraceRequest("abc"))
    assert not job.state.ended
    gate.set()
    trace = job.result(60)
    assert all(engine.model.capabilities[c].ok for c in FIRST)
    assert trace.heatmap().token_ids.min() >= 0
    whole = engine.finish_check()
    assert whole == engine.model
    assert whole.pending == ()
    assert all(found.ok for found in whole.capabilities.values())
    assert whole.stock_difference is not None
    engine.close()


def test_a_family_that_is_not_declared_is_held_to_identities_1_to_3_before_it_opens(monkeypatch, gate, tiny_llama):
    monkeypatch.delitem(registry._BY_FAMILY, "llama")
    engine = iv.open_model(str(tiny_llama))
    card = engine.model
    assert card.inferred
    assert tuple(c for c in Capability if c not in card.pending) == FIRST
    assert all(card.capabilities[c].ok for c in FIRST)
    gate.set()
    assert engine.finish_check().pending == ()
    engine.close()


@pytest.mark.parametrize("ask", ["apply", "estimate", "inspector"])
def test_whatever_looks_at_the_model_waits_for_identities_1_to_3(monkeypatch, gate, tiny_llama, ask):
    gate.set()
    monkeypatch.setattr(checking.Checking, "finish", _nothing)
    engine = iv.open_model(str(tiny_llama))
    assert engine.model.pending == tuple(Capability)
    if ask == "apply":
        engine.apply("model.norm", np.ones((1, engine.model.d_model), np.float32))
    elif ask == "estimate":
        engine.estimate(3, modules="model.norm")
    else:
        engine.inspector.forward(torch.tensor([[1, 2, 3]]))
    assert all(engine.model.capabilities[c].ok for c in FIRST)
    engine.close()


def _nothing(check: checking.Checking) -> Iterator[None]:
    """In place of the job that does the check in quiet moments."""
    yield from ()


def test_it_says_the_same_as_a_check_in_one_go(gate, tiny_llama):
    gate.set()
    engine = iv.open_model(str(tiny_llama))
    engine.trace("abc", max_new_tokens=2)
    assert engine.finish_check() == self_check.check_model(load(iv.ModelSpec(str(tiny_llama))))
    engine.close()


def test_a_view_waits_for_what_it_rests_on_and_another_does_not(gate, tiny_llama):
    engine = iv.open_model(str(tiny_llama))
    job = engine.submit(iv.TraceRequest("abc"))
    # the rest of the check holds the only thread until the gate opens
    assert "heads" in engine.model.pending
    gate.set()
    trace = job.result(30)
    assert trace.heatmap().token_ids.min() >= 0
    assert trace.attribution(by="heads").frame() is not None
    assert "heads" not in engine.model.pending
    engine.close()


def test_a_view_drives_the_check_itself(monkeypatch, gate, tiny_llama):
    """Also where the job that would do it in quiet moments never gets its turn."""
    with monkeypatch.context() as inside:
        inside.setattr(checking.Checking, "finish", _nothing)
        engine = iv.open_model(str(tiny_llama))
    gate.set()
    trace = engine.trace("abc")
    assert "pattern" in engine.model.pending
    assert trace.pattern(layer=1, head=0).shape == (4, 4)
    assert engine.model.pending == ()
    engine.close()


def test_what_fails_later_costs_its_views_only(monkeypatch, gate, tiny_llama):
    monkeypatch.setitem(registry._BY_FAMILY, "llama", replace(find("llama"), w_o="self_attn.q_proj"))
    gate.set()
    engine = iv.open_model(str(tiny_llama))
    trace = engine.trace("abc")
    with pytest.raises(iv.ModelError, match="heads add up"):
        trace.activation("head_out", layer=0, head=0)
    assert not engine.model.capabilities["heads"].ok
    assert trace.heatmap().token_ids.min() >= 0
    engine.close()


def test_a_model_that_is_refused_later_answers_nothing_more(monkeypatch, gate, tiny_llama):
    inner = identities.compute_relative_error
    monkeypatch.setattr(self_check, "_causal", lambda *args: inner(*args[-1:] * 2)[None] + 1)
    engine = iv.open_model(str(tiny_llama))
    gate.set()
    with pytest.raises(iv.ModelError, match=r"refused.*no position sees a later one"):
        engine.finish_check()
    for ask in (lambda: engine.trace("abc"), lambda: engine.submit(iv.TraceRequest("abc"))):
        with pytest.raises(iv.ModelError, match=r"refused.*no position sees a later one"):
            ask()
    engine.close()


@pytest.mark.parametrize("small", [True, False])
def test_a_wrong_declaration_is_refused_before_it_opens_or_at_the_first_request(monkeypatch, gate, tiny_llama, small):
    monkeypatch.setattr(checking, "SMALL", 10**9 if small else 0)
    monkeypatch.setitem(registry._BY_FAMILY, "llama", replace(find("llama"), attn_out="mlp"))
    gate.set()
    with pytest.raises(iv.ModelError, match=r"refused.*stream adds up"):
        iv.open_model(str(tiny_llama)).trace("abc")


def test_an_error_in_what_every_number_rests_on_is_a_refusal(monkeypatch, gate, tiny_llama):
    def fail(*args: object) -> None:
        raise ValueError("out of order")

    monkeypatch.setattr(identities, "check_residual", fail)
    gate.set()
    engine = iv.open_model(str(tiny_llama))
    for ask in (lambda: engine.trace("abc"), engine.finish_check, lambda: engine.estimate(3, modules="model.norm")):
        with pytest.raises(iv.ModelError, match=r"refused.*ValueError: out of order.*Open the model again"):
            ask()
    engine.close()


def test_an_engine_closed_meanwhile_lets_go_of_the_model(gate, tiny_llama):
    import gc

    from transformers import LlamaForCausalLM

    def networks() -> int:
        gc.collect()
        return sum(isinstance(o, LlamaForCausalLM) for o in gc.get_objects())

    before = networks()
    engine = iv.open_model(str(tiny_llama))
    threading.Timer(0.1, gate.set).start()
    engine.close()
    assert networks() == before
    with pytest.raises(iv.IntravistoError):
        engine.trace("abc")


def test_a_script_that_ends_during_the_check_ends_well(tiny_llama):
    script = (
        "import sys, intravisto_core as iv; from intravisto_core.engine import checking\n"
        "checking.SMALL = 0\n"
        "engine = iv.open_model(sys.argv[1]); assert engine.model.pending; print('opened')"
    )
    done = subprocess.run([sys.executable, "-c", script, tiny_llama], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "opened"), done.stderr
