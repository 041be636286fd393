"""Sweeps against edits made one at a time, over prompts, with controls of what is asked."""

from __future__ import annotations

import numpy as np
import pytest

import intravisto_core as iv

PROMPTS = ["abcd", "bcad"]


@pytest.mark.parametrize(
    ("what", "how", "positions"), [("z", "zero", "prompt"), ("z", "mean", (-1,)), ("mlp_out", "zero", "prompt")]
)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_every_cell_is_that_edit(case, kind, what, how, positions):
    engine = case(kind).engine
    grid = engine.sweep(PROMPTS, what=what, how=how, positions=positions, target=["a", "b"], contrast="c")
    heads = [None] if what == "mlp_out" else [0, 3]
    assert grid.effects.shape == (2, 3, 1 if what == "mlp_out" else 4)
    for i, prompt in enumerate(PROMPTS):
        trace = engine.trace(prompt)
        ids = [engine.tokenize(t, False)[0].id for t in (("a", "b")[i], "c")]
        before = np.subtract(*trace.logits(-1)[ids])
        assert grid.metrics[i] == pytest.approx(before, abs=1e-5)
        for layer in range(3):
            for column, head in enumerate(heads):
                edited = trace.edit(iv.Ablate(what, layer, positions, head=head, how=how))
                wanted = np.subtract(*edited.logits(-1)[ids]) - before
                assert grid.effects[i, layer, head or column] == pytest.approx(wanted, abs=2e-5)
    assert grid.effect == pytest.approx(grid.effects.mean(0))
    assert np.all(grid.interval[0] <= grid.effect + 1e-12)
    assert np.all(grid.effect <= grid.interval[1] + 1e-12)


def test_one_prompt_its_own_tokens_some_layers(case):
    engine = case("llama").engine
    grid = engine.sweep("abcd", layers=[-1])
    top = np.argsort(-engine.trace("abcd").logits(-1))
    assert (grid.targets, grid.contrasts) == ((int(top[0]),), (int(top[1]),))
    assert grid.layers.tolist() == [2]
    assert grid.interval is None
    assert grid.counts.any()
    assert not grid.cancelled
    assert len(grid.frame()) == 4
    assert "L2H" in grid.html()
    assert grid.figure().data


def test_a_cancel_keeps_the_cells_that_were_made(case):
    from intravisto_core.engine.jobs.sweep import run_sweep
    from intravisto_core.errors import Cancelled
    from intravisto_core.tracing import RunControl

    engine = case("llama").engine
    turns = run_sweep(engine._traces, iv.SweepRequest("abcd"), "", RunControl())
    for step in turns:
        if step.partial is not None:
            break
    with pytest.raises(StopIteration) as end:
        turns.throw(Cancelled("stop"))
    grid = end.value.value
    assert grid.cancelled
    assert 0 < np.isfinite(grid.effects).sum() < grid.effects.size
    assert "Stopped before its end" in grid.html()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"prompts": []}, "1 to 200 texts"),
        ({"prompts": ["a", "b"], "target": ["a"] * 3}, "one token, or 2"),
        ({"prompts": "a", "what": "resid_pre"}, "one of z, attn_out, mlp_out"),
        ({"prompts": "a", "how": "resample"}, "patching"),
        ({"prompts": "a", "positions": iv.Generated(1)}, "places of the prompt"),
    ],
)
def test_what_does_not_fit_is_refused(how, message):
    with pytest.raises(iv.RequestError, match=message):
        iv.SweepRequest(**how)
