"""`with engine.hook() as h`: functions around modules, for the runs of a session inside the block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.engine import LocalEngine
from tests import tiny
from tests.reference.equal import assert_close


@pytest.fixture(scope="module")
def engine(tiny_llama):
    made = LocalEngine(iv.ModelSpec(str(tiny_llama)))
    yield made
    made.close()


def count_hooks(engine) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in engine.kept_traces.model.network.modules())


def test_functions_see_module_input_and_output_of_every_run_inside(engine):
    before, after = [], []
    with engine.hook() as h:
        h.pre("model.layers.-1.mlp", lambda module, given: before.append((type(module).__name__, given[0].shape)))
        h.post("model.layers.0.self_attn", lambda module, given, out: after.append((given[0].shape, out[0].shape)))
        watched = [engine.trace("ab c"), engine.trace("ab", max_new_tokens=1)]
    engine.trace("ab c")
    assert before == [("LlamaMLP", (1, 5, 32)), ("LlamaMLP", (1, 3, 32)), ("LlamaMLP", (1, 1, 32))]
    assert [shape for shape, _ in after] == [(1, 5, 32), (1, 3, 32), (1, 1, 32)]
    assert watched[0].fingerprint == engine.trace("ab c").fingerprint
    assert count_hooks(engine) == 0


def test_what_they_return_or_write_changes_the_run_alone(engine, tiny_llama):
    plain = engine.trace(tiny.PROMPT)

    def in_place(module, given, out):
        out.mul_(0.0)

    ways = {
        "returned": ("post", lambda module, given, out: out * 0.0),
        "in place": ("post", in_place),
        "input": ("pre", lambda module, given: given[0] * 0.0),
        "inputs": ("pre", lambda module, given: (given[0] * 0.0,)),
    }
    wanted = plain.edit(iv.Ablate("mlp_out", 1, "all"))
    for name, (when, fn) in ways.items():
        with engine.hook() as h:
            getattr(h, when)("model.layers.1.mlp", fn)
            hooked = engine.trace(tiny.PROMPT)
        assert_close(hooked.activation("resid_post", 2), wanted.activation("resid_post", 2), 1e-5)
        assert hooked.fingerprint not in (plain.fingerprint, wanted.fingerprint), name
        assert hooked.notes == ("This run is not the model's own: hooks changed it at model.layers.1.mlp.",)
        engine.kept_traces.store.drop(("trace", hooked.id))
        with pytest.raises(iv.TraceError, match=r"hooks changed it at model\.layers\.1\.mlp"):
            hooked.activation("z", 0)
        with pytest.raises(iv.RequestError, match="baseline: expected a run that can be made again"):
            hooked.edit(iv.Ablate("mlp_out", 0, "all"))
    np.testing.assert_array_equal(engine.trace(tiny.PROMPT).logits(), plain.logits())


def test_another_session_and_runs_asked_before_are_left_alone(engine):
    calls = []
    earlier = engine.submit(iv.TraceRequest("ab c!", iv.Generation(8)))
    with engine.hook() as h:
        h.post("model.norm", lambda *given: calls.append(1))
        engine.submit(iv.TraceRequest("ab"), session="other").result()
        earlier.result()
        assert not calls
        inside = engine.submit(iv.TraceRequest("ab"))
    inside.result()
    assert calls == [1]


def test_edits_inside_run_in_full_under_the_functions_with_their_baseline(engine):
    seen = []
    with engine.hook() as h:
        h.post("model.layers.0", lambda module, given, out: seen.append(1))
        edited = engine.trace("ab c!ab", interventions=[iv.Scale("mlp_out", 2, -1, factor=0.5)])
    assert len(seen) == 2
    assert "hooks may look at every layer" in " ".join(edited.notes)


def test_what_fails_is_named_and_removed(engine):
    def wrong(module, given, out):
        raise KeyError("no")

    with engine.hook() as h:
        h.post("model.norm", wrong)
        with pytest.raises(iv.TraceError, match=r"hook after model\.norm: the function failed in line \d+ .*KeyError"):
            engine.trace("ab")
        with pytest.raises(iv.RequestError, match=r"nearest: model\.norm"):
            h.pre("model.nrom", wrong)
        with pytest.raises(iv.RequestError, match="fn: expected a function"):
            h.post("model.norm", 3)
    assert count_hooks(engine) == 0
    late, early = h, engine.hook()
    for block in (late, early):
        with pytest.raises(iv.RequestError, match=r"inside its `with` block.*with engine\.hook\(\) as h"):
            block.post("model.norm", wrong)
    with pytest.raises(iv.TraceError), engine.hook() as h:
        h.post("model.norm", wrong).post("model.norm", wrong) and engine.trace("ab")
    assert torch.tensor(engine.trace("ab").logits()).isfinite().all()
