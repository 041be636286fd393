"""A trace whose last handle is gone gives its memory back; its id still answers."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.engine import LocalEngine
from tests import tiny


@pytest.fixture
def engine(tiny_llama):
    made = LocalEngine(iv.ModelSpec(str(tiny_llama)))
    yield made
    made.close()


def test_a_loop_of_runs_does_not_grow(engine) -> None:
    store, sizes = engine.kept_traces.store, []
    for _ in range(12):
        trace = engine.trace(tiny.PROMPT, max_new_tokens=4)
        trace.heatmap()
        edited = trace.edit(iv.Scale("mlp_out", 1, "all", factor=0.5))
        edited.logits()
        sizes.append(store.nbytes)
    assert sizes[-1] <= 2.5 * sizes[0]
    trace = edited = None
    assert trace is edited
    assert store.nbytes < sizes[0] / 4


def test_its_id_is_still_known_and_is_run_again(engine) -> None:
    trace = engine.trace(tiny.PROMPT)
    name, logits = trace.id, trace.logits(2)
    copies = [trace, engine.find(name)]
    del trace
    assert ("trace", name) in engine.kept_traces.store
    copies.clear()
    assert ("trace", name) not in engine.kept_traces.store
    np.testing.assert_allclose(engine.view(iv.LogitsView(name, 2)).values, logits, atol=1e-6)
    assert engine.find(name).activation("z", 0).shape


def test_what_is_pinned_or_held_by_an_edit_stays(engine) -> None:
    trace = engine.trace(tiny.PROMPT)
    edited = trace.edit(iv.Scale("mlp_out", 1, "all", factor=0.5))
    base, name = trace.id, edited.id
    del trace
    gc.collect()
    assert ("trace", base) in engine.kept_traces.store
    assert edited.baseline.id == base
    assert ("trace", base) in engine.kept_traces.store
    del edited
    assert ("trace", base) not in engine.kept_traces.store
    assert ("trace", name) not in engine.kept_traces.store
    kept = engine.trace("ab")
    kept.pin()
    name = kept.id
    del kept
    assert ("trace", name) in engine.kept_traces.store
    again = engine.find(name)
    again.unpin()
    del again
    assert ("trace", name) not in engine.kept_traces.store


def test_cells_of_an_equal_trace_that_is_held_stay(engine) -> None:
    def kept(kind: str) -> list:
        return [key for key in engine.kept_traces.store._items if key[0] == kind]

    first, second = (engine.trace("ab c!") for _ in range(2))
    first.heatmap()
    cells = kept("view")
    assert cells
    del first
    assert kept("view") == cells
    assert len(kept("trace")) == 1
    del second
    assert not kept("trace")
    assert not kept("view")


def test_a_handle_may_end_while_the_store_is_in_use(engine) -> None:
    store = engine.kept_traces.store
    trace = engine.trace("ab c!")
    name = trace.id
    with store._lock:
        del trace
    assert ("trace", name) in store
    engine.trace("x")
    assert ("trace", name) not in store
