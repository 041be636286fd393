"""Attention: slices of one cube, what strength and sinks make of it, sparse rows, targets and pictures by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.head_strength import Rows, measure_strength
from intravisto_core.analysis.head_targets import (
    TargetSums,
    classify_keys,
    code_shares,
    pool_keys,
    split_evenly,
    tabulate_keys,
)
from intravisto_core.sites import AttentionDivision, HeadTarget, SinkHandling
from intravisto_core.views import attention as attention_view
from tests.flow.sinking import trace_with_sinks
from tests.inside import compute_records_anew

HEADS = 12


@pytest.fixture(scope="module")
def trace(case):
    return case("llama").trace


@pytest.fixture(scope="module")
def sunk(case):
    """A trace whose layers have several sinks, by a milder rule."""
    return trace_with_sinks(case("llama").engine, "The cat sat on the mat and the cat")


def test_every_slice_is_a_part_of_the_cube(trace):
    cube = trace.attention().weights
    length = len(trace.tokens)
    assert cube.shape == (HEADS, length, length)
    one = trace.attention(1, 2, queries=[-1, 3], keys=iv.Span(1, 4))
    assert (one.heads, one.queries.tolist(), one.keys.tolist()) == (((1, 2),), [length - 1, 3], [1, 2, 3])
    assert np.allclose(one.weights[0], cube[6][[length - 1, 3], 1:4], atol=1e-7)
    assert np.allclose(trace.attention(head=[3, 0], layer=-1).weights, cube[[11, 8]], atol=1e-7)
    assert np.allclose(trace.attention(queries=[5]).weights[:, 0], cube[:, 5], atol=1e-7)
    assert np.allclose(trace.attention(queries=[5], keys=[2]).weights[:, 0, 0], cube[:, 5, 2], atol=1e-7)
    mean = trace.attention(head="mean")
    assert mean.heads == ((0, -1), (1, -1), (2, -1))
    assert np.allclose(mean.weights, cube.reshape(3, 4, length, length).mean(1), atol=1e-7)


def test_turns_change_nothing(trace, monkeypatch):
    whole = trace.attention().weights
    rows = trace.sparse_attention(1, "mean", least=0.02)
    targets = trace.head_targets()
    monkeypatch.setattr(attention_view, "ELEMENTS", 1)
    compute_records_anew(monkeypatch)
    assert np.allclose(trace.attention().weights, whole, atol=1e-6)
    again = trace.sparse_attention(1, "mean", least=0.02)
    assert np.array_equal(again.keys, rows.keys)
    assert np.allclose(trace.head_targets().shares, targets.shares, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": 3}, "layer: expected -3 to 2; got 3"),
        ({"head": 4}, "head: expected -4 to 3; got 4"),
        ({"head": "all"}, 'head: expected a whole number, a list of them, "mean" or None; got'),
        ({"head": []}, "head: expected at least one head"),
        ({"queries": [99]}, "queries: expected"),
        ({"strength": "size"}, "strength: expected one of weights, value_weighted, projection"),
        ({"sinks": "gone"}, "sinks: expected one of show, hide, renormalise"),
        ({"sinks": "hide", "shown_sinks": [99]}, "shown_sinks: expected"),
        ({"shape": 1}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(trace, options, words):
    with pytest.raises(iv.RequestError, match=words.replace("[", r"\[")):
        trace.attention(**options)


def test_too_large_a_slice_is_refused_with_one_that_is_not(trace, monkeypatch):
    length = len(trace.tokens)
    compute_records_anew(monkeypatch)
    monkeypatch.setattr(attention_view, "LARGEST_BYTES", 4 * 4 * length**2)
    with pytest.raises(iv.RequestError, match=r"at most 64 MB; got 3 layers × 4 heads.*Ask for one layer, for queries"):
        trace.attention()
    assert trace.attention(1).weights.shape == (4, length, length)
    monkeypatch.setattr(attention_view, "LARGEST_BYTES", 4 * length * 2)
    with pytest.raises(iv.RequestError, match=r"one head of one layer with queries=iv.Span\(0, 2\)"):
        trace.attention(0, 1)
    assert trace.attention(0, 1, queries=iv.Span(0, 2)).weights.shape == (1, 2, length)


def test_strength_by_hand():
    """Two keys; the second moves three times as much, at a right angle to the first."""
    pattern = torch.tensor([[[1.0, 0.0], [0.75, 0.25]]])
    v = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    gram = torch.eye(2)[None]
    by_size = measure_strength(AttentionDivision.VALUE_WEIGHTED, pattern, v, gram)
    assert by_size[0].tolist() == [[1.0, 0.0], [0.5, 0.5]]
    along = measure_strength(AttentionDivision.PROJECTION, pattern, 2 * v, gram)
    assert along[0].tolist() == [[1.0, 0.0], [0.5, 0.5]]
    opposite = torch.tensor([[[1.0], [-1.0]]]), torch.ones(1, 1, 1)
    against = measure_strength(AttentionDivision.PROJECTION, torch.tensor([[[0.75, 0.25]]]), *opposite)
    assert against[0, 0].tolist() == pytest.approx([1.5, -0.5])
    nothing = measure_strength(AttentionDivision.PROJECTION, torch.tensor([[[0.5, 0.5]]]), *opposite)
    assert nothing.tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_strength_is_what_heads_write(case, name):
    """Against head_out of each source alone, through W_O as plain transformers multiplies it."""
    each, layer, head, query = case(name), 1, 2, -1
    pattern = each.trace.pattern(layer, head)[query]
    v = each.trace.activation("v", layer)
    w_o = each.engine.kept_traces.model.weights.get(f"w_o.{layer}").float().numpy()
    d_v = v.shape[2]
    parts = pattern[:, None] * v[head // (4 // len(v))] @ w_o[:, head * d_v : (head + 1) * d_v].T
    whole, lengths = parts.sum(0), np.linalg.norm(parts, axis=1)
    by_size = each.trace.attention(layer, head, [query], strength="value_weighted").weights[0, 0]
    along = each.trace.attention(layer, head, [query], strength="projection").weights[0, 0]
    assert by_size == pytest.approx(lengths / lengths.sum(), abs=1e-5)
    assert along == pytest.approx(parts @ whole / (whole @ whole), abs=1e-4)


def test_hidden_and_renormalised_rows_by_hand():
    rows = Rows(torch.tensor([[[0.6, 0.3, 0.1], [1.0, 0.0, 0.0]]]), torch.zeros(1, 2), torch.zeros(1, 2))
    hidden = rows.without(torch.tensor([True, False, False]))
    assert hidden.weights[0].tolist() == [[0.0, pytest.approx(0.3), pytest.approx(0.1)], [0.0, 0.0, 0.0]]
    assert hidden.hidden[0].tolist() == pytest.approx([0.6, 1.0])
    again = hidden.renormalised()
    assert again.weights[0, 0].tolist() == pytest.approx([0, 0.75, 0.25])
    assert again.weights[0, 1].tolist() == [0, 0, 0], "nothing is left, and nothing is made of it"
    learned = Rows(torch.tensor([[[0.5, 0.3]]]), torch.zeros(1, 1), torch.tensor([[0.2]]))
    left = learned.without(torch.tensor([True, False])).renormalised()
    assert float(left.weights[0, 0, 1]) == pytest.approx(0.6)
    assert float(left.learned[0, 0]) == pytest.approx(0.4)


@pytest.mark.parametrize("strength", list(AttentionDivision))
def test_sinks_are_hidden_layer_by_layer(sunk, strength):
    sinks = dict(sunk.sinks())
    shown = sunk.attention(strength=strength)
    hidden = sunk.attention(strength=strength, sinks="hide")
    anew = sunk.attention(strength=strength, sinks="renormalise")
    for i, (layer, _) in enumerate(shown.heads):
        at = list(sinks.get(layer, ()))
        others = np.setdiff1d(np.arange(len(sunk.tokens)), at)
        assert not hidden.weights[i][:, at].any()
        assert np.array_equal(hidden.weights[i][:, others], shown.weights[i][:, others])
        assert hidden.hidden[i] == pytest.approx(shown.weights[i][:, at].sum(-1), abs=1e-6)
        told = 1 - hidden.hidden[i] > 1e-5
        made = hidden.weights[i][told] / (1 - hidden.hidden[i][told])[:, None]
        assert anew.weights[i][told] == pytest.approx(made, rel=1e-4, abs=1e-6)
    assert np.array_equal(anew.hidden, hidden.hidden)


def test_a_sink_can_be_shown_alone(sunk):
    layer, at = max(sunk.sinks(), key=lambda each: len(each[1]))
    first = at[0]
    with_first = sunk.attention(layer, sinks="hide", shown_sinks=[first])
    assert np.array_equal(with_first.weights[..., first], sunk.attention(layer).weights[..., first])
    assert not with_first.weights[..., at[1]].any()
    all_shown = sunk.attention(layer, sinks="hide", shown_sinks=list(at))
    assert np.array_equal(all_shown.weights, sunk.attention(layer).weights)


@pytest.mark.parametrize("sinks", list(SinkHandling))
@pytest.mark.parametrize(("layer", "head"), [(1, 2), (2, (0, 3)), (0, "mean"), ("mean", "mean")])
def test_sparse_rows_are_the_larger_entries_of_the_dense_ones(sunk, layer, head, sinks):
    found = sunk.sparse_attention(layer, head, least=0.05, sinks=sinks)
    kept = SinkHandling.HIDE if sinks is SinkHandling.RENORMALISE else sinks
    layers = range(3) if layer == "mean" else [layer]
    cubes = [sunk.attention(each, None if head == "mean" else head, sinks=kept) for each in layers]
    dense = np.mean([c.weights.mean(0) for c in cubes], 0)
    hidden = np.mean([c.hidden.mean(0) for c in cubes], 0)
    if sinks is SinkHandling.RENORMALISE:
        dense = np.where((1 - hidden > 1e-6)[:, None], dense / np.maximum(1 - hidden, 1e-9)[:, None], 0)
    assert found.hidden == pytest.approx(hidden, abs=1e-6)
    least = 0.05 * (1 if sinks is SinkHandling.RENORMALISE else np.maximum(1 - hidden, 0.1)[:, None])
    near = np.abs(dense - least) < 1e-5
    for query in range(len(sunk.tokens)):
        keys, weights = found.row(query)
        wanted = np.flatnonzero((dense[query] >= np.broadcast_to(least, dense.shape)[query]) & (dense[query] != 0))
        assert set(keys.tolist()) ^ set(wanted.tolist()) <= set(np.flatnonzero(near[query]).tolist())
        assert weights == pytest.approx(dense[query, keys], abs=1e-5)
        assert found.rest[query] + weights.sum() == pytest.approx(dense[query].sum(), abs=1e-5)


@pytest.mark.parametrize("strength", ["weights", "value_weighted", "projection"])
@pytest.mark.parametrize(("layer", "head"), [(1, 2), (2, (0, 3)), (0, "mean")])
def test_marked_rows_answer_for_hidden_sinks_too(sunk, layer, head, strength):
    shown_sinks = [p for _, at in sunk.sinks() for p in at][-1:]
    for options in ({"strength": strength}, {"strength": strength, "shown_sinks": shown_sinks}):
        marked = sunk.sparse_attention(layer, head, least=0.05, mark_sinks=True, **options)
        wanted = sunk.sparse_attention(layer, head, least=0.05, sinks="hide", **options)
        found = marked.without_sinks()
        assert (found.sinks, found.sink_keys) == (wanted.sinks, None)
        for name in ("starts", "keys", "weights", "hidden", "rest", "learned"):
            assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-6), name
        kept = sunk.sparse_attention(layer, head, least=0.0, **options)
        assert found.hidden == pytest.approx(kept.weights.size and sum_of(kept, marked.sink_keys), abs=1e-6)
    plain = sunk.sparse_attention(layer, head, least=0.05)
    assert (plain.on_sinks, plain.sink_keys) == (None, None)
    with pytest.raises(iv.RequestError, match="mark_sinks=True"):
        plain.without_sinks()


def sum_of(found, keys):
    """What of each row goes to these keys."""
    sums = np.zeros(len(found.tokens))
    for query in range(len(sums)):
        at, weights = found.row(query)
        sums[query] = weights[np.isin(at, keys)].sum()
    return sums


def test_a_mean_of_layers_says_what_sinks_have_although_it_shows_them(sunk):
    marked = sunk.sparse_attention("mean", mark_sinks=True)
    hidden = sunk.sparse_attention("mean", sinks="hide", mark_sinks=True)
    assert marked.on_sinks == pytest.approx(hidden.hidden, abs=1e-6)
    assert np.array_equal(hidden.on_sinks, hidden.hidden)
    assert marked.sink_keys is None
    assert not marked.hidden.any()
    with pytest.raises(iv.RequestError, match="rows of one layer"):
        marked.without_sinks()


def test_what_looks_at_a_key_is_the_column(trace):
    found = trace.sparse_attention(1, 2, least=0.0)
    dense = trace.attention(1, 2).weights[0]
    for key in range(len(trace.tokens)):
        queries, weights = found.column(key)
        assert np.array_equal(dense[queries, key], weights)
        assert np.array_equal(queries, np.flatnonzero(dense[:, key]))


def slow_class(ids, sinks, i: int, j: int) -> str:
    if j in sinks:
        return "sink"
    if j == i:
        return "itself"
    if 1 <= j < i and ids[j - 1] == ids[i]:
        return "after_same"
    if ids[j] == ids[i]:
        return "same"
    if j == i - 1:
        return "previous"
    return "last_8" if i - j <= 8 else "farther"


def test_every_class_against_a_literal_loop(sunk):
    ids = [token.id for token in sunk.tokens]
    sinks = {layer: set(at) for layer, at in sunk.sinks()}
    found = sunk.head_targets()
    weights = sunk.attention().weights.astype(np.float64)
    length, names = len(ids), [str(c) for c in found.classes]
    wanted = np.zeros((3, 4, len(names)))
    distance, entropy = np.zeros((3, 4, 2)), np.zeros((3, 4))
    for layer, head in np.ndindex(3, 4):
        for i in range(1, length):
            for j in range(i + 1):
                p, kind = weights[layer * 4 + head, i, j], slow_class(ids, sinks.get(layer, ()), i, j)
                wanted[layer, head, names.index(kind)] += p / (length - 1)
                entropy[layer, head] -= p * np.log(p) / (length - 1) if p > 0 else 0
                if kind != "sink":
                    distance[layer, head] += (p * (i - j), p)
    assert {n for n in names if wanted[..., names.index(n)].any()} >= {"sink", "itself", "after_same", "same", "last_8"}
    assert found.shares == pytest.approx(wanted, abs=1e-5)
    assert found.shares.sum(-1) == pytest.approx(np.ones((3, 4)), abs=1e-5)
    assert found.entropy == pytest.approx(entropy, abs=1e-5)
    assert found.distance == pytest.approx(distance[..., 0] / distance[..., 1], abs=1e-4)
    assert found.sink_positions == tuple(tuple(sorted(sinks.get(layer, ()))) for layer in range(3))
    assert np.array_equal(found.share("previous"), found.shares[..., names.index("previous")])


def test_the_first_class_that_fits_counts():
    """a b a b a, the second a a sink: every order of two classes that a key can have at once."""
    ids, sinks = torch.tensor([7, 8, 7, 8, 7]), torch.tensor([False, False, True, False, False])
    found = classify_keys(torch.arange(5), ids, sinks)
    order = [str(each) for each in HeadTarget]
    names = [[order[c] for c in row[: i + 1]] for i, row in enumerate(found.tolist())]
    assert names[4] == ["same", "after_same", "sink", "after_same", "itself"]
    assert names[3] == ["last_8", "same", "sink", "itself"]
    assert names[2] == ["same", "after_same", "sink"]
    assert names[1] == ["previous", "itself"]


@pytest.mark.parametrize("decided", ["before", "after", "never"])
def test_a_long_text_adds_up_beside_a_sink_that_has_nearly_all(decided):
    """Sums in float32 over many queries are near those of float64: shares, distance, entropy."""
    length, chance = 1500, np.random.default_rng(0)
    ids = torch.from_numpy(chance.integers(0, 40, length))
    rows = np.tril(chance.random((length, length), np.float32) ** 8)
    rows[:, 0] = 0
    rows *= 3e-4 / np.maximum(rows.sum(1, keepdims=True), 1e-9)
    rows[:, 0] = 1 - rows.sum(1)
    pattern, sink = torch.from_numpy(rows)[None], torch.arange(length) == 0
    # key 7 is one of those that may be sinks, and turns out to be none
    sums = TargetSums.nothing(1, torch.tensor([0] if decided == "before" else [0, 7]))
    for some in torch.arange(length).split(64):
        last = int(some[-1]) + 1
        sums.add(some, pattern[:, some, :last], 0, tabulate_keys(some, ids[:last]), False)
    if decided == "after":
        sums.forget_others(torch.tensor([0]))
    found = sums.finish(sink)
    kinds = classify_keys(torch.arange(length), ids, sink).numpy()[1:]
    exact, back = rows[1:].astype(float), np.arange(1, length)[:, None] - np.arange(length)
    wanted = [exact[kinds == kind].sum() / (length - 1) for kind in range(len(HeadTarget))]
    assert found["shares"][0] == pytest.approx(wanted, rel=1e-5)
    far = exact * (np.arange(length) > 0)
    assert found["distance"][0] == pytest.approx((far * back).sum() / far.sum(), rel=1e-5)
    entropy = -(exact * np.log(np.where(exact > 0, exact, 1))).sum() / (length - 1)
    assert found["entropy"][0] == pytest.approx(entropy, rel=1e-5)


def test_pictures_are_means_of_what_a_field_is_given(trace):
    found = trace.head_patterns(size=5)
    weights, bounds = trace.attention().weights, found.bounds
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(trace.tokens), 6)
    for layer, head, row, column in np.ndindex(3, 4, 5, 5):
        q, k = slice(bounds[row], bounds[row + 1]), slice(bounds[column], bounds[column + 1])
        wanted = weights[layer * 4 + head, q, k].sum(1).mean()
        assert found.values[layer, head, row, column] == pytest.approx(wanted, rel=0.02, abs=1.1e-4)
    assert trace.head_patterns(size=64).pictures.shape[2] == len(trace.tokens), "at most one field a position"


def test_shares_in_one_byte():
    assert code_shares(np.array([0, 9e-5, 1e-4, 1e-2, 1.0])).tolist() == [0, 0, 1, 128, 255]
    assert split_evenly(3, 8).tolist() == [0, 1, 2, 3]
    sums = np.array([[[2.0, 0.0, 1.0], [0.0, 0.0, 1.0]]])
    assert pool_keys(sums, np.array([0, 2, 3])).tolist() == [[[1.0, 0.5], [0.0, 1.0]]]


def test_edits_are_seen_as_the_run_had_them(case):
    base = case("llama").trace
    cut = base.edit(iv.KnockOut(layer=1, queries=(6,), keys=(2,), heads=(1,)))
    frozen = base.edit(iv.Scale("resid_pre", 0, (3,), factor=2.0), iv.FreezePattern(layer=1, heads=(2,)))
    for edited in (cut, frozen):
        cube = edited.attention().weights
        for layer, head in np.ndindex(3, 4):
            assert np.allclose(cube[layer * 4 + head], edited.pattern(layer, head), atol=1e-7)
        row = edited.attention(1, queries=[6, 2]).weights
        assert np.allclose(row, cube[4:8][:, [6, 2]], atol=1e-7)
    assert cut.attention(1, 1, [6], [2]).weights.item() == 0
    assert np.allclose(frozen.attention(1, 2).weights, base.attention(1, 2).weights, atol=1e-6)
    assert not np.allclose(frozen.attention(1, 1).weights, base.attention(1, 1).weights, atol=1e-4)
    ablated = base.edit(iv.Ablate("z", 1, "all", head=0))
    assert any("instead" in note or "in place of heads" in note for note in ablated.attention(1).notes)


def test_a_text_of_one_token_has_attention_and_no_means(case):
    trace = case("llama").engine.trace((3,))
    assert trace.attention().weights.tolist() == [[[1.0]]] * HEADS
    assert np.isnan(trace.head_targets().shares).all()
    assert trace.sparse_attention(0, 1).row(0)[0].tolist() == [0]
    assert trace.head_patterns().pictures.shape == (3, 4, 1, 1)


def test_views_have_json_and_records_have_tables(trace):
    view = iv.AttentionView(trace.id, head=[1, 2], queries=[3], sinks="hide")
    assert iv.from_json(iv.to_json(view)) == view
    frame = trace.attention(1, 2).frame()
    assert list(frame.columns) == ["layer", "head", "query", "key", "query_token", "key_token", "attention"]
    assert len(frame) == np.tri(len(trace.tokens)).sum()
    assert len(trace.head_targets().frame()) == HEADS
    for record in (
        trace.attention(1),
        trace.attention(queries=[3]),
        trace.sparse_attention(1),
        trace.head_targets(),
        trace.head_patterns(),
    ):
        assert record.figure().layout.title.text
        assert "<!doctype html>" in record.html()
    with pytest.raises(iv.RequestError, match="head: expected 0 to 3"):
        trace.attention(1).figure(head=4)


def test_records_of_many_prompts_are_one_table(case):
    engine = case("llama").engine
    traces = engine.traces(["abc", "abcabc"])
    found = iv.frame(traces, "head_targets")
    assert len(found) == 2 * HEADS
    assert {"layer", "head", "previous", "entropy"} <= set(found.columns)
