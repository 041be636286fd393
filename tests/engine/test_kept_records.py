"""A record that is asked for again is not computed again, whatever view it answers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core import request
from intravisto_core.engine.jobs import compare, kept_records
from intravisto_core.engine.jobs import view as view_job
from intravisto_core.errors import TraceError
from intravisto_core.records.base import Record
from intravisto_core.traces.byte_store import count_bytes
from intravisto_core.views.registry import VIEWS
from tests.dictionaries import make_arrays, write_sae

NEEDED = {
    "ActivationView": {"site": "resid_post", "layer": 1},
    "PatternView": {"layer": 1, "head": 0},
    "ExpertsView": {"layer": 0},
    "UpdateView": {"component": "mlp", "row": 2, "position": 3},
    "CellSharesView": {"row": 2, "position": 3},
    "HeadSharesView": {"row": 2, "position": 3},
    "ModuleView": {"path": "model.layers.1.mlp"},
    "QueryView": {"token": " Rome"},
    "ModuleOutputView": {"path": "model.layers.1.mlp"},
    "SparseAttentionView": {"layer": 1},
    "AttentionScoreView": {"layer": 2, "head": 1, "query": 3, "key": 1},
    "AttentionCutView": {"layer": 2, "head": 1, "query": 3, "key": 1, "part": "L1H0"},
    "LayerView": {"layer": 1},
    "HeadView": {"layer": 1, "head": 0},
    "NeuronView": {"layer": 1, "neuron": 2},
    "NeuronsView": {"layer": 1},
    "FeatureView": {"layer": 1, "feature": 0},
    "ReadBackView": {"edit": iv.Replace(site="resid_post", layer=2, positions=[3], token=" Rome")},
}
NOT_OF_THE_DEMO = {"ExpertsView"}


@pytest.fixture
def counted(monkeypatch):
    """How often the function of each view was called."""
    calls: Counter[str] = Counter()

    def count(kind, compute):
        def run(context, asked):
            calls[kind.__name__] += 1
            return (yield from compute(context, asked))

        return run

    monkeypatch.setattr(view_job, "VIEWS", {kind: count(kind, compute) for kind, compute in VIEWS.items()})
    return calls


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    found = iv.open_model("demo")
    w, name = make_arrays(found.model.d_model, 8), found.model.name
    found.add_dictionary(write_sae(tmp_path_factory.mktemp("sae"), w, name, "blocks.1.hook_resid_post"))
    yield found
    found.close()


@pytest.mark.parametrize("kind", [k for k in VIEWS if k.__name__ not in NOT_OF_THE_DEMO], ids=lambda k: k.__name__)
def test_equal_requests_are_computed_once(engine, counted, kind):
    trace = engine.trace("Q: What is the capital of Italy? A:", max_new_tokens=2, modules=["model.layers.1.mlp"])
    asked = NEEDED.get(kind.__name__, {})
    first, again = (engine.view(kind(trace.id, **asked)) for _ in range(2))
    assert counted == {kind.__name__: 1}
    assert isinstance(first, Record)
    assert again is not first
    assert repr(again) == repr(first)
    assert count_bytes(again) == count_bytes(first) > 0
    other = engine.trace("Q: What is the capital of Italy? A:", max_new_tokens=2, modules=["model.layers.1.mlp"])
    engine.view(kind(other.id, **asked))
    assert counted[kind.__name__] == 2, "another trace has records of its own"


def test_a_forgotten_trace_leaves_no_record(engine, counted):
    trace = engine.trace("1 2 3")
    trace.shares()
    n_kept = len(engine.kept_traces.store)
    trace.forget()
    assert len(engine.kept_traces.store) < n_kept - 1


def test_what_is_written_into_a_record_does_not_come_back(engine):
    trace = engine.trace("1 2 3")
    for _ in range(3):
        shares = trace.shares()
        assert np.nanmax(shares.mlp) < 2
        shares.mlp[:] = 7


def test_a_kept_record_is_its_own_session_s(engine, counted):
    job = engine.submit(request.TraceRequest("1 2 3"), session="one")
    view = request.SharesView(job.result().id)
    engine.view(view, session="one")
    with pytest.raises(TraceError, match="expected the id of one made here"):
        engine.view(view, session="two")
    assert counted["SharesView"] == 1


def test_a_record_larger_than_its_share_of_the_store_is_not_kept(engine, counted, monkeypatch):
    trace = engine.trace("1 2 3 4 5 6 7 8")
    limit = count_bytes(trace.view(request.PatternView(trace.id, 0, 0)))
    monkeypatch.setattr(kept_records, "LARGEST_SHARE", limit / engine.kept_traces.store.budget)
    for _ in range(2):
        trace.pattern(1, 0)
        trace.activation("resid_post", 0)
    assert counted == {"PatternView": 2, "ActivationView": 2}, "one of the first was asked for before"


def test_a_heatmap_that_is_not_waited_for_is_asked_for_again(engine, counted):
    trace = engine.trace("1 2 3")
    for _ in range(2):
        trace.heatmap(within=0.0)
        trace.heatmap()
    assert counted == {"HeatmapView": 3}


def test_comparisons_and_checks_are_kept_too(engine, monkeypatch):
    calls = []
    inner = compare._effects
    monkeypatch.setattr(compare, "_effects", lambda *given: calls.append(1) or inner(*given))
    trace = engine.trace("Q: What is the capital of Italy? A:")
    edited = trace.edit(iv.Ablate(site="mlp_out", layer=1))
    one = trace.compare(edited)
    n_calls = len(calls)
    other = trace.compare(edited)
    assert len(calls) == n_calls > 0
    np.testing.assert_array_equal(one.kl, other.kl)
