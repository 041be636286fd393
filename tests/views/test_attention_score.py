"""Why a head looks there: the split, what it is held against, and the weight without a part; on models and by hand."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.score_parts import Parts
from intravisto_core.analysis.score_row import ScoreRow
from intravisto_core.engine.jobs.attention_cut import find_ablation

TEXT = "Peter, Oscar and Robert went to the park. Oscar and Peter gave a key to"
PREVIOUS, INDUCTION = "L2H1", (3, 1)
QUERY, KEY = 17, 3


@pytest.fixture(scope="module")
def demo():
    engine = iv.open_model("demo")
    yield engine.trace(TEXT)
    engine.close()


def row(products: list[float], sink: float | None = None, cap: float = 0.0) -> ScoreRow:
    n = len(products)
    return ScoreRow(
        keys=torch.arange(n),
        products=torch.tensor(products, dtype=torch.float64),
        bias=torch.zeros(n, dtype=torch.float64),
        soft_cap=cap,
        sink=sink,
        scaling=1.0,
        q=torch.zeros(1, dtype=torch.float64),
        k=torch.zeros((n, 1), dtype=torch.float64),
    )


def test_weights_and_references_by_hand():
    three = row([0.0, 1.0, 2.0])
    total = 1 + exp(1) + exp(2)
    assert three.weights(three.products).tolist() == pytest.approx([1 / total, exp(1) / total, exp(2) / total])
    assert three.reference_weights(1, weighted=False).tolist() == [0.5, 0.0, 0.5]
    assert three.reference_weights(1, weighted=True).tolist() == pytest.approx(
        [1 / (1 + exp(2)), 0, exp(2) / (1 + exp(2))]
    )
    assert row([0.0], sink=0.0).weights(torch.zeros(1, dtype=torch.float64)).tolist() == [0.5]
    assert row([50.0], cap=10.0).finish(torch.tensor([50.0])).item() == pytest.approx(10 * np.tanh(5))


def test_small_parts_are_one():
    parts = Parts(
        list("abcd"), torch.tensor([[1.0], [2.0], [torch.nan], [4.0]]), *torch.arange(8.0).double().view(2, 4, 1)
    )
    folded = parts.fold(torch.tensor([3.0, -9.0, 1.0, 1.0]), 3, "")
    assert folded.names == ["a", "b", "others"]
    assert folded.made.tolist() == [[0], [1], [5]]
    assert folded.held.tolist() == [[4], [5], [13]]
    assert folded.vectors.tolist() == [[1], [2], [4]]
    assert parts.fold(torch.tensor([3.0, -9.0, 1.0, 1.0]), 3, "d").names == ["b", "d", "others"]
    assert parts.fold(torch.zeros(4), 4, "") is parts


def test_an_induction_head_looks_by_what_the_previous_token_head_wrote(demo):
    score = demo.score(*INDUCTION, QUERY, KEY)
    assert score.weight > 0.99
    by_key = dict(zip(score.key_parts, score.matrix.sum(0), strict=True))
    assert max(by_key, key=lambda part: by_key[part]) == PREVIOUS
    assert by_key[PREVIOUS] > 0.8 * score.total
    place = score.key_parts.index(PREVIOUS)
    assert score.key_predicted[place] < 0.01
    assert score.key_measured[place] < 0.01
    others = np.delete(score.key_measured, place)
    assert np.median(others) > 0.9
    assert demo.engine.head_types().previous[2, 1] > 0.95
    assert demo.engine.head_types().induction[INDUCTION] > 0.5


def test_the_total_is_the_weight_of_the_edit(demo):
    found = demo.cut(*INDUCTION, QUERY, KEY, PREVIOUS)
    edited = demo.edit(iv.Ablate("z", 2, (KEY,), head=1))
    assert found.total == pytest.approx(edited.pattern(*INDUCTION)[QUERY, KEY], abs=1e-6)
    assert found.weight == pytest.approx(demo.pattern(*INDUCTION)[QUERY, KEY], abs=1e-6)
    score = demo.score(*INDUCTION, QUERY, KEY, against=None)
    place = score.key_parts.index(PREVIOUS)
    assert found.predicted == pytest.approx(score.key_predicted[place])
    assert found.measured == pytest.approx(score.key_measured[place])
    at_query = demo.cut(*INDUCTION, QUERY, KEY, "L2 MLP", "query")
    again = demo.edit(iv.Ablate("mlp_out", 2, (QUERY,)))
    assert at_query.total == pytest.approx(again.pattern(*INDUCTION)[QUERY, KEY], abs=1e-6)
    alone = demo.cut(*INDUCTION, QUERY, KEY, "embedding")
    assert alone.total is None
    assert alone.measured is not None
    assert "no total" in alone.notes[-1]


def test_a_part_that_is_not_listed_is_still_cut(demo):
    few = demo.score(*INDUCTION, QUERY, KEY, most_parts=3)
    assert few.key_parts[-1] == "others"
    assert len(few.key_parts) == 3
    assert few.matrix.sum() == pytest.approx(demo.score(*INDUCTION, QUERY, KEY).matrix.sum(), abs=1e-9)


def test_what_is_measured_is_the_score_of_a_changed_stream(case):
    """q of the head anew from the stream without a part, by the model's own modules."""
    each = case("llama")
    trace, model = each.trace, each.model
    score = trace.score(1, 2, 6, 4)
    block = model.model.layers[1]
    x = torch.tensor(trace.activation("resid_pre", 1))
    removed = torch.tensor(trace.activation("head_out", 0, head=3))
    with torch.no_grad():
        changed = x.clone()
        changed[4] -= removed[4]
        cos, sin = model.model.rotary_emb(x[None], torch.arange(len(x))[None])
        patterns = []
        for keys_from in (x, changed):
            q = block.self_attn.q_proj(block.input_layernorm(x)).view(1, len(x), 4, -1).transpose(1, 2)
            k = block.self_attn.k_proj(block.input_layernorm(keys_from)).view(1, len(x), 2, -1).transpose(1, 2)
            rotate = type(block.self_attn).forward.__globals__["apply_rotary_pos_emb"]
            q, k = rotate(q, k, cos, sin)
            patterns.append((q[0, 2, 6] @ k[0, 1, :7].T * block.self_attn.scaling).softmax(-1)[4].item())
    assert score.weight == pytest.approx(patterns[0], abs=1e-6)
    assert score.key_measured[score.key_parts.index("L0H3")] == pytest.approx(patterns[1], abs=1e-6)


def test_the_score_of_an_edited_run_has_a_part_for_the_edits(demo):
    edited = demo.edit(iv.Scale("resid_pre", 1, (KEY,), factor=1.5))
    score = edited.score(*INDUCTION, QUERY, KEY)
    assert score.key_parts[-1] == "edits"
    assert abs(score.added["remainder"]) < 1e-4
    cut = edited.cut(*INDUCTION, QUERY, KEY, PREVIOUS)
    assert cut.weight == pytest.approx(edited.pattern(*INDUCTION)[QUERY, KEY], abs=1e-5)
    assert cut.total is not None
    knocked = demo.edit(iv.KnockOut(layer=3, queries=(QUERY,), keys=(5,), heads=(1,)))
    assert np.isnan(knocked.score(*INDUCTION, QUERY, KEY).scores[5])
    with pytest.raises(iv.RequestError, match="key: expected a position that query 17 sees"):
        knocked.score(*INDUCTION, QUERY, 5)


def test_bfloat16_balances_with_rounding_as_a_part(tiny_llama):
    engine = iv.open_model(str(tiny_llama), dtype="bfloat16")
    trace = engine.trace("abc def abc")
    score = trace.score(2, 1, 9, 5)
    assert score.key_parts[-1] == "rounding of the stream"
    assert score.matrix.sum() + sum(score.added.values()) == pytest.approx(score.total, abs=1e-9)
    assert score.error < 2e-2
    engine.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((9, 0, 5, 3), "layer: expected -6 to 5; got 9"),
        ((3, 4, 5, 3), "head: expected -4 to 3"),
        ((3, 1, 5, 9), r"key: expected a position that query 5 sees \(0 to 5\); got 9"),
        ((3, 1, 0, 0), "against: expected a query that sees another key; query 0"),
        ((3, 1, 5, 3, "best"), 'against: expected "mean", "weighted", the position of a key, or None'),
        ((3, 1, 5, 3, 7), "against: expected a position that query 5 sees"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(demo, arguments, words):
    with pytest.raises(iv.RequestError, match=words):
        demo.score(*arguments)


def test_a_part_that_is_none_is_refused(demo):
    with pytest.raises(iv.RequestError, match="part: expected one at the key"):
        demo.cut(*INDUCTION, QUERY, KEY, "L3H0")
    assert find_ablation("L10 MLP", 3) == iv.Ablate("mlp_out", 10, (3,))
    assert find_ablation("norm bias", 3) is None
    assert demo.score(3, 1, 0, 0, against=None).total == pytest.approx(demo.score(3, 1, 0, 0, None).score)


def test_what_cannot_be_made_again_is_refused(case, monkeypatch):
    each = case("gpt2")
    monkeypatch.setattr("intravisto_core.views.attention_score.ALLOWED", {torch.float32: 0.0})
    with pytest.raises(iv.ModelError, match="made again they are off by"):
        each.trace.score(1, 1, 7, 2, against="weighted")


def test_records_have_tables_and_pictures(demo):
    score, cut = demo.score(*INDUCTION, QUERY, KEY), demo.cut(*INDUCTION, QUERY, KEY, PREVIOUS)
    assert score.frame()["score"].sum() == pytest.approx(score.total, abs=1e-6)
    assert cut.frame()["what"].tolist() == ["as it was", "predicted", "measured", "total"]
    for record in (score, cut, demo.engine.head_types(), demo.engine.head_composition(3, 1)):
        assert record.figure().layout.title.text
        assert len(record.frame())
    assert list(demo.engine.head_types().frame().columns[:8]) == [
        *("layer", "head", "previous", "duplicate", "induction", "copying", "first", "entropy")
    ]
