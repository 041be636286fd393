"""What the nodes and links of a flow say, in turns and under limits of the model; and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.views.context import ViewContext
from intravisto_core.views.flow import blockwise, details, shares
from tests.flow.sinking import trace_with_sinks
from tests.inside import compute_records_anew


def test_divergences_and_readings_are_those_of_the_cells(case):
    for name in ("llama", "gemma2", "gpt2"):
        tiny = case(name)
        flow = tiny.trace.flow(position=6, top_k=3, min_mass=1e-3)
        component = {"block": "block", "mid": "mid", "attention": "attention", "mlp": "mlp"}
        grids = {c: tiny.trace.heatmap(c) for c in component}
        changes = tiny.trace.heatmap(reading="difference")

        def logits(n: int, flow=flow, tiny=tiny) -> np.ndarray:
            at = int(flow.node_row[n]), int(flow.node_position[n])
            return tiny.cells.logits(str(flow.node_kind[n]), "output", "final", *at)

        for s, t, kl in zip(flow.link_source, flow.link_target, flow.link_kl, strict=True):
            if flow.node_position[s] < 0:
                assert np.isnan(kl)
                continue
            upper, lower = (z - np.logaddexp.reduce(z) for z in (logits(t), logits(s)))
            assert kl == pytest.approx(float((np.exp(upper) * (upper - lower)).sum()), abs=2e-4, rel=1e-3), name
        for n, kind in enumerate(flow.node_kind):
            row, position = int(flow.node_row[n]), int(flow.node_position[n])
            grid, q = grids[str(kind)], int(flow.node_reading[n])
            np.testing.assert_array_equal(flow.reading_ids[q], grid.token_ids[row, position])
            numbers = grid.logits if kind in ("attention", "mlp") else grid.probabilities
            np.testing.assert_allclose(flow.reading_numbers[q], numbers[row, position], atol=1e-5)
            d = int(flow.node_difference[n])
            if kind == "mid":
                np.testing.assert_array_equal(flow.reading_ids[d], grids["attention"].token_ids[row, position])
            elif kind == "block" and 1 <= row <= flow.n_layers:
                np.testing.assert_array_equal(flow.reading_ids[d], changes.token_ids[row, position])
            else:
                assert d == -1


def test_the_iterative_reading_of_nodes_is_that_of_the_cells(case):
    trace = case("llama").trace
    flow = trace.flow(position=6, top_k=2, min_mass=1e-2, reading="iterative")
    grids = {c: trace.heatmap(c, reading="iterative") for c in ("block", "mid", "attention", "mlp")}
    for n, kind in enumerate(flow.node_kind):
        row, position, q = int(flow.node_row[n]), int(flow.node_position[n]), int(flow.node_reading[n])
        np.testing.assert_array_equal(flow.reading_ids[q], grids[str(kind)].token_ids[row, position])
        assert flow.reading_unit[q] == "coefficient"


def test_a_link_between_states_tells_what_was_added_there(case):
    trace = case("llama").trace
    flow = trace.flow(position=6, top_k=1)
    wrote = {c: trace.heatmap(c).token_ids for c in ("attention", "mlp")}
    for i in np.flatnonzero(flow.link_kind == "residual"):
        t = flow.link_target[i]
        into = "attention" if flow.node_kind[t] == "mid" else "mlp"
        ids = wrote[into][flow.node_row[t], flow.node_position[t]]
        np.testing.assert_array_equal(flow.reading_ids[flow.link_difference[i]], ids)
    assert (flow.link_difference[flow.link_kind != "residual"] == -1).all()


def test_a_flow_without_details_is_the_same_flow(case):
    trace = case("llama").trace
    plain, full = trace.flow(top_k=2, details=False), trace.flow(top_k=2)
    np.testing.assert_array_equal(plain.link_mass, full.link_mass)
    assert plain.node_id == full.node_id
    assert np.isnan(plain.link_kl).all()
    assert (plain.node_reading == -1).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"row": 0}, "1 to"),
        ({"row": 99}, "1 to"),
        ({"position": 99}, "position"),
        ({"position": "all"}, "generated"),
        ({"measure": "size"}, "projection"),
        ({"attention": "size"}, "value_weighted"),
        ({"top_k": -1}, "top_k"),
        ({"min_mass": 2}, "min_mass"),
        ({"sinks": "reweigh"}, "renormalise"),
        ({"hide_start": True}, 'Write sinks="hide" for hide_start'),
        ({"reading": "difference"}, "iterative"),
        ({"row": 1, "rows": [3]}, "row 1"),
        ({"size": 3}, "min_weight"),
    ],
)
def test_what_cannot_be_asked_is_refused(case, options, said):
    with pytest.raises(iv.RequestError, match=said):
        case("llama").trace.flow(**options)


def test_generated_tokens_are_needed_where_they_are_asked_for(case):
    trace = case("llama").engine.trace("ab c")
    for ask in (lambda: trace.flow(position="generated"), trace.route):
        with pytest.raises(iv.RequestError, match="max_new_tokens"):
            ask()


def test_the_kl_pair_is_refused_in_a_parallel_block(family):
    with pytest.raises(iv.RequestError, match="parallel"):
        family("Phi").trace.flow(measure="kl_pair")


def test_a_model_whose_heads_fail_is_refused_all_but_the_weights(case):
    engine, trace = case("llama").engine, case("llama").trace
    card = engine.model
    failed = {**card.capabilities, iv.Capability.HEADS: iv.Check(False, 0.5, "heads do not add up")}
    try:
        engine.kept_traces.card = replace(card, capabilities=failed)
        for ask in (lambda: trace.flow(attention="projection"), lambda: trace.attribution(by="heads")):
            with pytest.raises(iv.ModelError, match="heads do not add up"):
                ask()
        assert len(trace.flow(attention="weights", details=False).links) > 0
    finally:
        engine.kept_traces.card = card


def test_a_long_text_takes_turns_and_gives_the_same(case, monkeypatch):
    engine, trace = case("llama").engine, case("llama").trace
    short = trace.flow(top_k=3)
    compute_records_anew(monkeypatch)
    monkeypatch.setattr(shares, "LONG", 1)
    job = engine.submit(iv.FlowView(trace.id, top_k=3))
    flow = job.result(60)
    np.testing.assert_array_equal(flow.link_source, short.link_source)
    np.testing.assert_allclose(flow.link_mass, short.link_mass, rtol=1e-5)
    np.testing.assert_allclose(flow.link_kl, short.link_kl, rtol=1e-4, atol=1e-5)
    assert job.progress.text == "links"


LONG_VIEWS = (
    lambda t: t.flow(details=False, min_mass=1e-3),
    lambda t: t.flow(details=False, position="generated", sinks="hide", top_k=2, attention="value_weighted"),
    lambda t: t.flow(2, 7, "l1", "projection", details=False, sinks="renormalise", min_weight=0.01),
    lambda t: t.disagreement(min_mass=0.01, n=1000),
    lambda t: t.disagreement(min_mass=0.02, n=1000, other_attention="value_weighted", sinks="hide"),
    lambda t: t.route("projection", "projection", sinks="renormalise"),
    lambda t: t.route(attention="value_weighted"),
)


def numbers(record) -> dict[str, np.ndarray]:
    """All numbers of a record; of links in the order of their ends, as rounding may change it at a tie."""
    values = {n: np.asarray(getattr(record, n)) for n in record.__dataclass_fields__}
    if isinstance(record, iv.Disagreement | iv.Flow):
        is_flow = isinstance(record, iv.Flow)
        ends = (record.link_target, record.link_source) if is_flow else (record.target, record.source)
        order = np.lexsort(ends)
        values = {n: v[order] if v.shape == order.shape else v for n, v in values.items()}
    return {n: v for n, v in values.items() if v.dtype.kind in "fi"}


@pytest.mark.parametrize("view", LONG_VIEWS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_long_text_is_followed_in_stretches_and_keeps_nothing_quadratic(case, name, view, monkeypatch):
    trace = trace_with_sinks(case(name).engine, "ab c!ab d~ab e#ab f")
    length, kept = len(trace.tokens), {}
    short = numbers(view(trace))
    keep = ViewContext.keep

    def kept_too(context, key, value):
        kept[key] = [a.shape for a in (value.values() if isinstance(value, dict) else [value])]
        return keep(context, key, value)

    compute_records_anew(monkeypatch)
    for limit, size in (("LONG", 1), ("TURN_ELEMENTS", 3 * 4 * length), ("ROW_ELEMENTS", 2 * length)):
        monkeypatch.setattr(shares, limit, size)
    monkeypatch.setattr(ViewContext, "keep", kept_too)
    # what was kept of the short text is of no use to a long one
    find = ViewContext.find
    monkeypatch.setattr(ViewContext, "find", lambda context, key: find(context, key) if key == "sinks" else None)
    found = numbers(view(trace))
    assert found.keys() == short.keys()
    for part, values in short.items():
        np.testing.assert_allclose(found[part], values, rtol=2e-4, atol=2e-6, err_msg=part)
    assert kept
    assert [k for k, shapes in kept.items() if any(s.count(length) > 1 for s in shapes)] == []


def test_divergences_under_a_soft_cap_are_kept(case, monkeypatch):
    trace = case("gemma2").trace
    first = trace.flow(position=7, top_k=2)
    monkeypatch.setattr(details, "compute_logit_divergences", None)
    again = trace.flow(position=7, top_k=1)
    known = first.links.set_index(["source", "target"])["kl"]
    wanted = [known[link] for link in zip(again.links["source"], again.links["target"], strict=True)]
    np.testing.assert_array_equal(again.link_kl, np.array(wanted, np.float32))


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite"])
def test_what_blocks_of_tokens_say_is_what_each_node_says(case, name, monkeypatch):
    engine = case(name).engine
    monkeypatch.setattr(blockwise, "LEAST_WIDTH", 100)
    monkeypatch.setattr(blockwise, "BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(blockwise, "LINKS_AT_ONCE", 7)
    blocks = engine.trace("ab c!held", max_new_tokens=3).flow(min_mass=1e-3)
    assert engine.kept_traces.model.dtype == torch.float32
    monkeypatch.setattr(details, "reads_in_blocks", lambda model: False)
    each = engine.trace("ab c!held", max_new_tokens=3, seed=7).flow(min_mass=1e-3)
    np.testing.assert_allclose(blocks.link_kl, each.link_kl, atol=1e-5)
    np.testing.assert_array_equal(blocks.reading_ids, each.reading_ids)
    np.testing.assert_allclose(blocks.reading_numbers, each.reading_numbers, rtol=1e-4, atol=1e-5)
    monkeypatch.undo()
    monkeypatch.setattr(blockwise, "LARGEST", -1.0)
    again = engine.trace("ab c!held", max_new_tokens=3, seed=8).flow(min_mass=1e-3)
    np.testing.assert_array_equal(again.link_kl, each.link_kl)
