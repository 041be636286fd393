"""Predictors held against edits: each number from the public views and edits of the same trace, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.agreement import compute_partial_correlation, share_top
from intravisto_core.analysis.effects import compute_rank_correlation
from intravisto_core.cli import main

PROMPTS = ["ab c!ab d~ab", "cab dab"]


@pytest.fixture(scope="module")
def found(case):
    return case("llama").engine.measure_test(PROMPTS, integrated=True, draws=3, seed=1)


def test_every_number_is_that_of_the_views_and_edits(case, found):
    engine = case("llama").engine
    trace = engine.trace(PROMPTS[0])
    n, target = len(trace.tokens), int(trace.next_tokens(n=1).token_ids[0])

    def log_prob(own):
        return torch.tensor(own.logits()).double().log_softmax(-1)[target].item()

    def fallen(*edits):
        return log_prob(trace) - log_prob(trace.edit(*edits))

    hidden = np.array([fallen(*(iv.KnockOut(layer, -1, p) for layer in range(3))) for p in range(1, n)])
    drawn = trace.saliency(target, method="occlusion", draws=3, seed=1).replaced_by
    ids = [token.id for token in trace.tokens]
    swapped = []
    for p in range(1, n):
        # a special token stays as it is
        others = [
            log_prob(engine.trace((*ids[:p], int(new) if new >= 0 else ids[p], *ids[p + 1 :]))) for new in drawn[p]
        ]
        swapped.append(log_prob(trace) - np.mean(others))
    swapped = np.array(swapped)
    flow = trace.flow(measure="l1", attention="value_weighted", sinks="renormalise", min_mass=0)
    nodes = flow.nodes[(flow.nodes["row"] == 0) & (flow.nodes["kind"] == "block")]
    mass = np.zeros(n)
    mass[nodes["position"]] = nodes["mass"]
    words = trace.explain(target, tests=False).source
    integrated = trace.saliency(target, method="integrated_gradients").scores
    for name, values in (
        ("position", np.arange(n)),
        ("contribution", words),
        ("integrated_gradients", integrated),
        ("flow: l1, value_weighted, sinks renormalise", mass),
    ):
        i = found.predictors.index(name)
        for k, truth in enumerate((swapped, hidden)):
            wanted = compute_rank_correlation(values[1:].astype(float), truth)
            assert found.agreement[0, i, k] == pytest.approx(wanted, abs=1e-6), (name, found.truths[k])
            assert found.top[0, i, k] == share_top(values[1:-1].astype(float), truth[:-1])
    heads = trace.attribution(target, by="heads").head_values
    without = [fallen(iv.Ablate("z", la, -1, head=h)) for la in range(3) for h in range(4)]
    assert found.heads[0] == pytest.approx(compute_rank_correlation(heads.ravel(), np.array(without)), abs=1e-6)
    trace.forget()


def test_nothing_is_left_in_the_store(case):
    engine = case("llama").engine
    before = len(engine.kept_traces)
    engine.measure_test(PROMPTS[:1])
    assert len(engine.kept_traces) == before


def test_position_partialled_out_is_the_correlation_of_what_it_leaves():
    """Beside the correlation of the residuals of ranks after a straight line in position."""
    rng = np.random.default_rng(0)
    position = np.arange(12.0)
    a, b = position + 4 * rng.normal(size=12), position + 4 * rng.normal(size=12)

    def rest(x):
        ranks = x.argsort().argsort().astype(float)
        return ranks - np.polyval(np.polyfit(position, ranks, 1), position)

    wanted = np.corrcoef(rest(a), rest(b))[0, 1]
    assert compute_partial_correlation(a, b, position) == pytest.approx(wanted)
    assert np.isnan(compute_partial_correlation(position, b, position))


def test_the_largest_is_shared_among_equals():
    truth = np.array([0.0, 3.0, 1.0])
    assert share_top(np.array([1.0, 2.0, 0.0]), truth) == 1
    assert share_top(np.array([2.0, 2.0, 0.0]), truth) == 0.5
    assert share_top(np.array([2.0, 1.0, 0.0]), truth) == 0


def test_a_mean_leaves_out_what_is_not_told(found):
    assert found.mean("partial")[0].tolist() == pytest.approx([np.nan] * 2, nan_ok=True)
    frame = found.frame()
    row = frame[(frame["predictor"] == "contribution") & (frame["truth"] == "resample")].iloc[0]
    assert row["mean"] == pytest.approx(found.agreement[:, 1, 0].mean())
    assert row["n"] == 2


def test_short_prompts_are_refused(case):
    with pytest.raises(iv.RequestError, match="at least 4 tokens"):
        case("llama").engine.measure_test(["ab"])


def test_the_command_prints_the_best_first(capsys, tiny_llama, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    assert main(["measures", "--model", str(tiny_llama), "--prompts", str(prompts)]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = [float(line.split()[0]) for line in lines[1:-1]]
    assert values == sorted(values, reverse=True)
    assert "heads: attribution" in lines[-1]
