"""Attention sinks: the rule by hand, and a literal loop over plain transformers' own patterns (docs/methods.md §5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.sinks import Looks, find_sinks
from intravisto_core.errors import PendingError
from intravisto_core.views import sinks as sinks_view
from tests.flow.sinking import milder_rule, trace_with_sinks
from tests.flow.test_traces import attention
from tests.inside import compute_records_anew

MILD = {"least": 0.0, "times": 0.9, "small": 1.3}
RULE = {"least": 0.08, "times": 3.0, "small": 0.45}


def look(pattern: np.ndarray, window: int | None = None) -> Looks:
    """One layer's queries taken in. pattern: (H, T, T)."""
    heads, length = pattern.shape[:2]
    queries = torch.arange(length)
    first = torch.zeros(length, dtype=torch.long) if window is None else (queries - window + 1).clamp(min=0)
    found = Looks.nothing(heads, length)
    found.add(queries, torch.from_numpy(pattern).float(), first, queries)
    return found


def looking_at(length: int, weights: dict[int, float], heads: int = 2) -> np.ndarray:
    """Every query gives so much to some keys, and the rest to itself."""
    pattern = np.zeros((heads, length, length))
    for i in range(length):
        for j, weight in weights.items():
            if j < i:
                pattern[:, i, j] = weight
        pattern[:, i, i] = 1 - pattern[0, i].sum()
    return pattern


def test_even_attention_has_no_sink():
    even = np.tril(np.ones((9, 9))) / np.arange(1, 10)[:, None]
    found = find_sinks(look(even[None]), np.full(9, 0.1))
    assert not found.is_sink.any()
    assert found.weight[0] == pytest.approx(np.mean([1 / 5, 1 / 6, 1 / 7, 1 / 8, 1 / 9]))
    assert found.least[0] == pytest.approx(3 * found.weight[0])
    assert (found.weight[:5] >= 0.08).all(), "8 % alone would make sinks of all keys that can be looked at"
    assert np.isnan(found.weight[5:]).all(), "no query is four positions later"


def test_a_sink_takes_much_and_brings_little():
    length, size = 100, np.ones(100)
    weights = {0: 0.2, 3: 0.2, 10: 0.2, 20: 0.07}
    size[[3, 20]], size[10] = 0.44, 0.45
    found = find_sinks(look(looking_at(length, weights)), size)
    assert np.flatnonzero(found.is_sink).tolist() == [0, 3], "10 brings too much, 20 takes too little"
    even = np.mean([1 / (i + 1) for i in range(24, length)])
    assert found.least[20] == pytest.approx(max(0.08, 3 * even))
    size[0] = 5.0
    assert find_sinks(look(looking_at(length, weights)), size).is_sink[0], "position 0 needs the weight alone"
    assert np.flatnonzero(find_sinks(look(looking_at(length, weights)), None).is_sink).tolist() == [0]


@pytest.mark.parametrize(("length", "decided"), [(8, False), (9, True)])
def test_with_fewer_than_five_queries_nothing_is_decided(length, decided):
    found = find_sinks(look(looking_at(length, {0: 0.9})), np.ones(length))
    assert bool(found.is_sink[0]) == decided


def test_queries_that_do_not_see_a_key_do_not_count():
    pattern = looking_at(30, {0: 0.5})
    pattern[:, 12:] = np.eye(30)[12:]
    assert not find_sinks(look(pattern), np.ones(30)).is_sink.any(), "eight looks of 26 are too few"
    seen = find_sinks(look(pattern, window=12), np.ones(30))
    assert seen.is_sink[0]
    assert seen.weight[0] == pytest.approx(0.5), "queries 4 to 11 alone see position 0"


def literal(pattern: np.ndarray, brings: np.ndarray, rule: dict[str, float]) -> dict[str, np.ndarray]:
    """docs/methods.md §5, key by key. pattern: (H, T, T). brings: (H, T, d) at weight 1."""
    length = pattern.shape[1]
    out = {n: np.full(length, np.nan) for n in ("weight", "least")}
    out |= {"is_sink": np.zeros(length, bool), "n_queries": np.zeros(length, int)}
    out["size"] = np.linalg.norm(brings, axis=-1).mean(0)
    out["size"] = out["size"] / np.median(out["size"])
    for j in range(length):
        queries = [i for i in range(j + 4, length) if pattern[:, i, j].max() > 0]
        out["n_queries"][j] = len(queries)
        if not queries:
            continue
        out["weight"][j] = np.mean([pattern[:, i, j].mean() for i in queries])
        even = np.mean([1 / (pattern[:, i] > 0).any(0).sum() for i in queries])
        out["least"][j] = max(rule["least"], rule["times"] * even)
        enough = len(queries) >= 5 and out["weight"][j] >= out["least"][j]
        out["is_sink"][j] = enough and (j == 0 or out["size"][j] < rule["small"])
    return out


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma-2", "OLMo-2", "Granite", "gpt-oss", "Phi", "Mistral"])
@pytest.mark.parametrize("mild", [False, True])
def test_sinks_are_those_of_a_literal_loop(family, name, mild, monkeypatch):
    tiny = family(name)
    trace = tiny.trace
    compute_records_anew(monkeypatch)
    monkeypatch.setattr("intravisto_core.views.context.ViewContext.find", lambda context, key: None)
    monkeypatch.setattr("intravisto_core.views.context.ViewContext.keep", lambda context, key, value: value)
    if mild:
        with milder_rule():
            found = trace.sinks()
    else:
        found = trace.sinks()
    assert found.is_sink.any() == (mild and name != "Mistral"), "its window leaves each key one query"
    for layer in range(tiny.engine.model.n_layers):
        pattern = tiny.plain.patterns[layer].astype(np.float64)
        wanted = literal(pattern, attention(tiny.plain, layer).brings, MILD if mild else RULE)
        for part, values in wanted.items():
            np.testing.assert_allclose(getattr(found, part)[layer], values, rtol=2e-4, atol=1e-6, err_msg=part)
        others = pattern[:, 1:]
        taken = others[:, :, wanted["is_sink"]].sum(-1).mean()
        assert found.taken[layer] == pytest.approx(taken, abs=1e-6)
        np.testing.assert_allclose(found.first[layer], others[:, :, 0].mean(1), atol=1e-6)
        np.testing.assert_allclose(found.learned[layer], 1 - others.sum(-1).mean(1), atol=1e-5)
    assert (found.learned.max() > 1e-3) == (name == "gpt-oss")
    assert dict(found) == {layer: at for layer, at in enumerate(found.positions) if at}


def test_a_text_of_one_position_has_no_sink(case):
    found = case("llama").engine.trace((5,), add_special_tokens=False).sinks()
    assert list(found) == []
    assert np.isnan(found.first).all()
    assert found.share == 0


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_a_long_text_is_looked_at_in_stretches(case, name, monkeypatch):
    trace = case(name).trace
    whole = trace.sinks()
    compute_records_anew(monkeypatch)
    monkeypatch.setattr("intravisto_core.views.context.ViewContext.find", lambda context, key: None)
    monkeypatch.setattr(sinks_view, "PATTERN_ELEMENTS", 3 * 4 * len(trace.tokens))
    parts = trace.sinks()
    for field in ("is_sink", "weight", "least", "size", "n_queries", "taken", "first", "learned"):
        np.testing.assert_allclose(getattr(parts, field), getattr(whole, field), rtol=1e-5, atol=1e-7, err_msg=field)


def test_what_heads_bring_is_needed_for_all_but_position_0(case, monkeypatch):
    engine, trace = case("gpt2").engine, case("gpt2").trace
    card = engine.model
    compute_records_anew(monkeypatch)
    failed = {**card.capabilities, iv.Capability.HEADS: iv.Check(False, 0.5, "heads do not add up")}
    monkeypatch.setattr("intravisto_core.views.context.ViewContext.find", lambda context, key: None)
    monkeypatch.setattr("intravisto_core.views.context.ViewContext.keep", lambda context, key, value: value)
    monkeypatch.setattr(engine.kept_traces, "card", replace(card, capabilities=failed))
    with milder_rule():
        found = trace.sinks()
    assert set(found.found) <= {0}
    assert np.isnan(found.size).all()
    assert "only position 0" in found.notes[-1]


def test_no_sinks_are_told_while_the_heads_are_not_checked(case, monkeypatch):
    """Else position 0 alone would be kept as the answer."""
    engine, trace = case("gpt2").engine, case("gpt2").trace
    compute_records_anew(monkeypatch)
    pending = {**engine.model.capabilities, iv.Capability.HEADS: iv.Check(False, None, "not yet", pending=True)}
    monkeypatch.setattr("intravisto_core.views.context.ViewContext.find", lambda context, key: None)
    monkeypatch.setattr(engine.kept_traces, "card", replace(engine.model, capabilities=pending))
    with pytest.raises(PendingError):
        trace.sinks()


def test_sinks_are_found_once_a_trace_and_tabled(case):
    trace = trace_with_sinks(case("llama").engine, "ab c!ab d~ab twice")
    found = trace.sinks()
    assert found.is_sink.any(), "kept as the milder rule found them"
    whole = found.frame()
    assert len(whole) == found.is_sink.size
    table = whole[whole["is_sink"]]
    assert whole["is_sink"][: len(table)].all(), "the sinks first"
    pairs = [(layer, p) for layer, at in found for p in at]
    assert list(zip(table["layer"], table["position"], strict=True)) == pairs
    assert table["weight"].tolist() == found.weight[found.is_sink].tolist()
