"""Attention of every family: the cube against plain transformers, and scores that add up to what the run captured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.engine.jobs import head_types
from tests import tiny
from tests.inside import compute_records_anew
from tests.reference.equal import assert_close

every_family = pytest.mark.parametrize("name", tiny.CONFIGS)
NOT_KNOWN = "Llama-4 with images"
ALLOWED = 1e-5


@every_family
def test_the_weights_are_those_of_plain_transformers(family, name):
    case = family(name)
    found, plain = case.trace.attention(), case.plain.patterns
    cube = np.concatenate([each.reshape(-1, *each.shape[-2:]) for each in plain])
    assert_close(found.weights, cube, ALLOWED)
    assert found.heads == tuple((layer, head) for layer, each in enumerate(plain) for head in range(len(each)))
    learned = 1 - cube.sum(-1)
    assert np.abs(found.learned - learned).max() < 1e-5
    assert name == "gpt-oss" or not found.learned.any(), "rounding is no learned sink"
    assert not found.hidden.any()


@pytest.mark.parametrize("name", ["Mistral", "Gemma-3", "gpt-oss", "Falcon, ALiBi", "GPT-Neo"])
def test_one_query_at_a_time_sees_its_own_stretch_of_keys(family, name, monkeypatch):
    """Windows, sinks and biases of keys, where only the keys that a query sees are looked at."""
    trace = family(name).trace
    whole, sinks = trace.attention(), trace.sinks()
    monkeypatch.setattr("intravisto_core.views.attention.ELEMENTS", 1)
    compute_records_anew(monkeypatch)
    found = trace.attention()
    assert np.allclose(found.weights, whole.weights, atol=1e-6)
    assert np.allclose(found.learned, whole.learned, atol=1e-6)
    mean = trace.sparse_attention("mean", least=0.0)
    dense = np.zeros((len(trace.tokens),) * 2)
    dense[np.repeat(np.arange(len(dense)), np.diff(mean.starts)), mean.keys] = mean.weights
    assert np.allclose(dense, whole.weights.mean(0), atol=1e-6)
    assert np.allclose(trace.head_targets().shares.sum(-1), 1, atol=1e-5)
    assert np.array_equal(trace.sinks().is_sink, sinks.is_sink)


@every_family
def test_a_score_is_the_sum_of_its_parts(family, name):
    trace = family(name).trace
    if name == NOT_KNOWN:
        with pytest.raises(iv.ModelError, match="rotary positions"):
            trace.score(1, 2, 9, 8)
        return
    q, k = trace.activation("q", 1, head=2), trace.activation("k", 1)
    keys = k[2 // (4 // len(k))]
    for against in ("mean", "weighted", 8, None):
        score = trace.score(1, 2, 9, 7, against=against)
        assert score.matrix.sum() + sum(score.added.values()) == pytest.approx(score.total, abs=1e-9)
        size = float(np.abs(score.scores[np.isfinite(score.scores)]).max())
        assert abs(score.added["remainder"]) <= ALLOWED * size
        assert score.error <= ALLOWED
        assert set(score.added) <= {"soft_cap", "alibi", "remainder"}
    assert score.total == score.score == pytest.approx(float(score.scores[7]))
    if "soft_cap" not in score.added and "alibi" not in score.added:
        # two keys that the query sees: their difference is one of products, whatever the scale is
        other = trace.score(1, 2, 9, 7, against=8).total
        assert other * (q[9] @ (keys[7] - keys[8])) > 0


@pytest.mark.parametrize("name", ["Gemma-2", "Bloom", "MPT", "Falcon, ALiBi"])
def test_what_is_no_product_is_told_apart(family, name):
    score = family(name).trace.score(1, 2, 9, 7)
    other = "soft_cap" if name == "Gemma-2" else "alibi"
    assert score.added[other] != 0
    assert score.added["remainder"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "GPT-NeoX, parallel", "Gemma-2", "Qwen3", "Bloom"])
def test_each_part_is_the_difference_to_a_stream_without_it(family, name):
    """At frozen norms: the score with q or k of the stream less the part, by a norm that is written out here."""
    case = family(name)
    score = case.trace.score(1, 2, 9, 7, against=None)
    ends = ("query", score.query_parts, score.matrix.sum(1)), ("key", score.key_parts, score.matrix.sum(0))
    for end, parts, sums in ends:
        for name_of_part, value in zip(parts, sums, strict=True):
            if name_of_part.startswith("L0"):
                product = frozen_product(case, end, name_of_part)
                assert value == pytest.approx(product, abs=1e-5 * max(1, np.abs(score.matrix).max())), name_of_part


def frozen_product(case, end: str, part: str) -> float:
    """What the score of (9, 7), layer 1, head 2, loses without a part of the stream, norms' statistics as they were."""
    from intravisto_core.models.reader import read_readers
    from intravisto_core.models.rotation import read_rotation

    traces, trace = case.engine.kept_traces, case.trace
    model, data = traces.model, traces.kept_data(traces.entry(trace.id, ""))
    position = 9 if end == "query" else 7
    x = torch.tensor(trace.activation("resid_pre", 1)[position]).double()
    if part.endswith("MLP"):
        removed = trace.activation("mlp_out", 0)[position]
    elif "bias" in part:
        removed = trace.activation("attn_out", 0)[position] - trace.activation("head_out", 0)[:, position].sum(0)
    else:
        removed = trace.activation("head_out", 0, head=int(part[3:]))[position]
    removed = torch.tensor(removed).double()
    reader = read_readers(model, 1)[0 if end == "query" else 1]
    group = model.dimensions.n_heads // model.dimensions.n_kv_heads
    head = 2 if end == "query" else 2 // group
    norm = reader.norm
    own = slice(head * reader.d_head, (head + 1) * reader.d_head)

    def frozen(stream: torch.Tensor) -> torch.Tensor:
        centre = (lambda v: v - v.mean()) if norm.kind.value == "layer" else (lambda v: v)
        sigma = (centre(x).square().mean() + norm.eps).sqrt()
        raw = reader.w[own].double() @ (norm.scale.double() * centre(stream) / sigma)
        if reader.head_norm is None:
            return raw
        bias = 0 if norm.shift is None else reader.w[own].double() @ norm.shift.double()
        whole = reader.w[own].double() @ (norm.scale.double() * centre(x) / sigma) + bias
        statistic = (whole.square().mean() + reader.head_norm.formula.eps).sqrt()
        return reader.head_norm.formula.scale.double() * raw / statistic

    lost = read_rotation(model, 1, data.length).at(slice(position, position + 1)).apply(frozen(removed)[None])[0]
    other = trace.activation("k", 1, head=2 // group)[7] if end == "query" else trace.activation("q", 1, head=2)[9]
    return float(lost @ torch.tensor(other).double()) * data.facts[1].scaling


@every_family
def test_every_family_has_scores_of_its_heads(family, name):
    engine = family(name).engine
    found = engine.head_types(tokens=12, texts=1)
    for score in head_types.SCORES:
        values = getattr(found, score)
        assert np.isfinite(values).all()
        assert values.min() >= 0
    assert np.abs(found.copying).max() <= 1
    below = engine.head_composition(1, 2)
    assert below.q.shape == (1, 4)
    assert np.isfinite([below.q, below.k, below.v]).all()
