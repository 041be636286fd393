"""Checked links against manual hooks: what is predicted, what is measured, and how the two agree."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.effects import compute_predictions, compute_rank_correlation, compute_recovered_share
from intravisto_core.experiments.link_runs import run_without
from tests import tiny
from tests.case import Case
from tests.interventions.manual import Hand, run
from tests.reference.families import is_parallel

TARGET, CONTRAST = 11, 23
SITES = {"attention": "attn_out", "mlp": "mlp_out", "mid": "resid_mid", "block": "resid_pre"}


def metric(case: Case, stream: np.ndarray, position: int) -> float:
    """The logit difference after a position, by the plain model's own norm and table."""
    model = case.plain.model
    trunk = model.base_model
    norm = next(getattr(trunk, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(trunk, n))
    with torch.no_grad():
        logits = model.get_output_embeddings()(norm(torch.tensor(stream[position])))
    if case.plain.kind == "gemma2":
        logits = torch.tanh(logits / 6.0) * 6.0
    if case.plain.kind == "granite":
        logits = logits / case.plain.config.logits_scaling
    return float(logits[TARGET] - logits[CONTRAST])


def by_hand(case: Case, link: iv.Link, position: int, share: float = 1.0) -> float:
    """m without (a share of) the whole of what a component hands on at a place, less m."""
    vector = torch.tensor(case.plain.sites[SITES[str(link.component)]][link.layer][link.position])
    # Without this is what attention, or the MLP, wrote for it.
    site = "mlp_out" if link.component in ("mlp", "mid") else "attn_out"
    hand = Hand(site, link.layer, (link.position,), lambda x: x - share * vector)
    stream = run(case.plain, case.ids, hand)
    return metric(case, stream, position) - metric(case, run(case.plain, case.ids), position)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "GPT-NeoX, parallel", "Gemma-2", "Granite", "Qwen3-MoE"])
def test_a_checked_link_is_a_run_without_its_vector(family, name):
    case = family(name)
    position = case.trace.prompt_length - 1
    kinds = ["attention", "mlp", "block"] + ([] if is_parallel(case.plain.config) else ["mid"])
    links = [iv.Link(kind, layer, at) for kind in kinds for layer in (0, 1) for at in (4, position)]
    found = case.trace.check_links(links, TARGET, CONTRAST, position)
    assert found.noise < 1e-5
    assert found.metric == pytest.approx(metric(case, run(case.plain, case.ids), position), abs=1e-4)
    for i, link in enumerate(links):
        assert found.measured[i] == pytest.approx(by_hand(case, link, position), abs=1e-4), link
        # The prediction is the slope at the start of the way to it.
        slope = by_hand(case, link, position, 1e-2) / 1e-2
        assert found.predicted[i] == pytest.approx(slope, abs=0.02 + 0.05 * abs(slope)), link


@pytest.mark.parametrize("name", ["Llama", "Gemma-2", "Granite", "gpt-oss"])
def test_parts_of_attention_add_up_to_it(family, name):
    """Predictions are linear: heads, and sources where no sink or bias takes part, add up to the whole."""
    case = family(name)
    heads = [iv.Link("attention", 1, 9, head=h) for h in range(4)]
    sources = [iv.Link("attention", 1, 9, source=j) for j in range(10)]
    both = [iv.Link("attention", 1, 9, source=j, head=h) for j in range(10) for h in range(4)]
    whole = iv.Link("attention", 1, 9)
    found = case.trace.check_links([whole, *heads, *sources, *both], TARGET, CONTRAST, 12)
    parts = np.split(found.predicted[1:], [4, 14])
    bias = 0.0 if case.plain.kind != "gpt_oss" else found.predicted[0] - parts[0].sum()
    for each in parts:
        assert each.sum() + bias == pytest.approx(found.predicted[0], abs=1e-4)
    assert found.labels[1] == "layer 1, position 9: head 0"
    assert found.labels[5] == "layer 1, position 9: attention from position 0"


def test_neurons_add_up_to_the_mlp(family):
    case = family("Gemma-2")
    links = [iv.Link("mlp", 0, 5), *(iv.Link("mlp", 0, 5, neuron=n) for n in range(48))]
    found = case.trace.check_links(links, TARGET, CONTRAST, 12)
    assert found.predicted[1:].sum() == pytest.approx(found.predicted[0], abs=1e-4)


def test_links_after_the_metric_do_nothing(family):
    found = family("Llama").trace.check_links(iv.Link("mlp", 0, 12), TARGET, CONTRAST, 8)
    assert (found.predicted[0], found.measured[0]) == (0, 0)
    assert np.isnan(found.rank_correlation)


def test_without_reuse_the_numbers_are_the_same(family, monkeypatch):
    case = family("Bloom")
    links = [iv.Link("attention", 0, at, head=1) for at in (3, 9)] + [iv.Link("mlp", 0, 9)]
    found = case.trace.check_links(links, TARGET, CONTRAST, 12)
    monkeypatch.setattr(import_module("intravisto_core.experiments.check_links"), "find_obstacle", lambda *_: "a test")
    again = case.trace.check_links(links, TARGET, CONTRAST, 12)
    assert np.allclose(found.measured, again.measured, atol=1e-5)
    assert found.rank_correlation == again.rank_correlation


def test_links_that_are_not_there_are_refused(family):
    llama, neox = family("Llama").trace, family("GPT-NeoX, parallel").trace
    with pytest.raises(iv.RequestError, match="parallel"):
        neox.check_links(iv.Link("mid", 0, 3))
    for link, said in (
        (iv.Link("mlp", 5, 0), "layer"),
        (iv.Link("mlp", 0, 99), "position"),
        (iv.Link("attention", 0, 3, head=9), "head"),
        (iv.Link("attention", 0, 3, source=99), "source"),
        (iv.Link("mlp", 0, 3, neuron=999), "neuron"),
    ):
        with pytest.raises(iv.RequestError, match=said):
            llama.check_links(link)
    with pytest.raises(iv.RequestError, match="attention"):
        iv.Link("mlp", 0, 3, head=1)
    with pytest.raises(iv.RequestError, match="1 to 500"):
        llama.check_links([])


def test_rank_correlation_is_spearmans():
    assert compute_rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 90.0])) == pytest.approx(1)
    assert compute_rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    # Worked by hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert compute_rank_correlation(np.array([0.0, 5.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(
        0.948683
    )
    assert np.isnan(compute_rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert np.isnan(compute_rank_correlation(np.ones(4), np.arange(4.0)))


def test_a_recovered_share_is_blank_where_it_means_nothing():
    assert compute_recovered_share(1.5, 3.0, 1.0, 0.0) == pytest.approx(0.25)
    assert np.isnan(compute_recovered_share(1.5, 1.0, 1.0, 0.0))
    assert compute_recovered_share(1.5, 3.0, 1.0, 0.0, iv.Patching.NOISE) == pytest.approx(0.75)
    assert compute_recovered_share(3.0, 3.0, 1.0, 0.0, iv.Patching.NOISE) == 0, "nothing happened"
    assert compute_recovered_share(1.5, 1.051, 1.0, 0.01) == pytest.approx(0.5 / 0.051)
    assert np.isnan(compute_recovered_share(1.5, 1.049, 1.0, 0.01))


def test_predictions_by_hand():
    """Two positions, three tokens: p = (1/2, 1/4, 1/4) against q = (1/4, 1/2, 1/4), then the same."""
    p, q = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.5, 0.25]]).log()
    own, found = compute_predictions(
        lambda x: x, torch.cat([p, p]), torch.cat([q, p]), torch.tensor([1, -1]), 0, 1, step=1
    )
    assert own.kl.tolist() == [0, 0]
    assert own.log_prob[0] == pytest.approx(np.log(0.25))
    assert own.top.tolist() == [0, 0]
    assert found.kl == pytest.approx([0.5 * np.log(2) - 0.25 * np.log(2), 0], abs=1e-6)
    assert found.log_prob[0] == pytest.approx(np.log(0.5))
    assert np.isnan(found.log_prob[1])
    assert found.difference == pytest.approx([-np.log(2), np.log(2)], abs=1e-6)
    assert found.top.tolist() == [1, 0]


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_links_run_no_more_than_they_change_on_every_family(family, monkeypatch, name):
    """Early links, links of the last layer, and the metric's own position; against runs of everything, one by one."""
    case = family(name)
    position, last = case.trace.prompt_length - 1, len(case.plain.layers) - 1
    near = position - 3
    middle = [] if is_parallel(case.plain.config) else [iv.Link("mid", 0, near)]
    links = [
        *(iv.Link("attention", last, position), iv.Link("mlp", last, position), *middle),
        *(iv.Link("attention", 0, near), iv.Link("block", 0, near), iv.Link("mlp", 0, near)),
        *(iv.Link("attention", 0, 1), iv.Link("mlp", 0, 2), iv.Link("block", last, near), iv.Link("mlp", last, 2)),
    ]
    monkeypatch.setattr(import_module("intravisto_core.experiments.link_runs"), "SHORT", 1)
    found = case.trace.check_links(links, TARGET, CONTRAST, position)
    monkeypatch.setattr(import_module("intravisto_core.experiments.check_links"), "find_obstacle", lambda *_: "a test")
    again = case.trace.check_links(links, TARGET, CONTRAST, position)
    assert np.max(np.abs(found.measured - again.measured) / (1 + np.abs(again.measured))) < 2e-5
    assert np.max(np.abs(found.predicted - again.predicted) / (1 + np.abs(again.predicted))) < 1e-4
    assert (np.abs(found.measured[:-4]) > 2e-5).all()
    # In the last block nothing leads from other positions to the metric's.
    assert (np.abs(found.measured[-2:]) < 1e-5).all()
    assert found.noise < 2e-5


def test_a_link_that_is_another_by_its_numbers_is_measured_once(family, monkeypatch):
    """At position 0 attention has one source; both ways to name it are one run."""
    runs = []
    module = import_module("intravisto_core.experiments.check_links")
    monkeypatch.setattr(module, "run_without", lambda *args: runs.append(len(args[2])) or run_without(*args))
    links = [iv.Link("attention", 0, 0), iv.Link("attention", 0, 0, source=0), iv.Link("attention", 0, 0, head=1)]
    found = family("Llama").trace.check_links(links, TARGET, CONTRAST, 12)
    # the two that differ, and the one without anything taken away
    assert runs == [3]
    assert found.measured[0] == found.measured[1] != found.measured[2]


@pytest.mark.parametrize("name", ["Mixtral", "OLMoE"])
def test_a_neuron_of_an_expert_is_a_link(family, name):
    """As setting it to 0; nothing where the expert was not chosen."""
    trace, position = family(name).trace, family(name).trace.prompt_length - 1
    seen = trace.experts(1, 2).positions.tolist()
    elsewhere = next(p for p in range(position) if p not in seen)
    links = [iv.Link("mlp", 0, 5, neuron=(e, 3)) for e in range(4)] + [iv.Link("mlp", 1, elsewhere, neuron=(2, 3))]
    found = trace.check_links(links, TARGET, CONTRAST, position)
    assert (found.predicted[-1], found.size[-1]) == (0, 0)
    assert abs(found.measured[-1]) <= found.noise
    assert found.labels[1] == "layer 0, position 5: expert 1, neuron 3"
    assert (found.expert.tolist(), found.neuron.tolist()) == ([0, 1, 2, 3, 2], [3] * 5)
    for e in range(4):
        edited = trace.edit(iv.Ablate("act", 0, 5, neuron=(e, 3)))
        moved = trace.compare(edited, TARGET, CONTRAST, position)
        change = moved.edited_logit_difference[position] - moved.logit_difference[position]
        assert found.measured[e] == pytest.approx(change, abs=2e-5)
    with pytest.raises(iv.RequestError, match="expert"):
        trace.check_links(iv.Link("mlp", 0, 5, neuron=3))
    with pytest.raises(iv.RequestError, match="no experts"):
        family("Llama").trace.check_links(iv.Link("mlp", 0, 5, neuron=(0, 3)))
