"""Sampling: drawn from the distribution that transformers' own processors give, by seed and step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

import intravisto_core as iv
from intravisto_core.request import Generation
from intravisto_core.tracing.sampling import choose_token
from tests.reference import plain
from tests.tiny import PROMPT, VOCABULARY

OPTIONS = [
    {"temperature": 0.7},
    {"temperature": 1.3, "top_k": 5},
    {"temperature": 1.0, "top_p": 0.6},
    {"temperature": 1.6, "top_k": 12, "top_p": 0.8},
]


def processed(
    logits: np.ndarray, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> np.ndarray:
    """Probabilities after the processors in the order in which `generate` applies them."""
    scores = torch.tensor(logits)[None]
    scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p is not None:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return scores.softmax(-1)[0].numpy()


def new_ids(trace) -> list[int]:
    return [token.id for token in trace.tokens][trace.prompt_length :]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_distribution_of_every_step_is_that_of_the_processors(case, family, options):
    tiny = case(family)
    vocabulary = len(VOCABULARY)
    for position, logits in enumerate(tiny.run.logits):
        found = tiny.trace.next_tokens(position, n=vocabulary, **options)
        expected = processed(logits, **options)
        np.testing.assert_allclose(found.sampled, expected[found.token_ids], atol=2e-6)
        assert found.n_left == (expected > 0).sum()


@pytest.mark.parametrize("options", OPTIONS[::3])
def test_frequencies_follow_the_processed_distribution(case, options):
    tiny = case("llama")
    draws = 150
    counts = Counter(
        new_ids(tiny.engine.trace(PROMPT, max_new_tokens=1, seed=s, sites=[], **options))[0] for s in range(draws)
    )
    p = processed(tiny.run.logits[len(tiny.prompt_ids) - 1], **options)
    assert set(counts) <= set(np.flatnonzero(p)), "a token was drawn that the processors had cut off"
    common = [i for i in np.argsort(-p)[:8] if p[i] * draws >= 5]
    rest = draws - sum(counts[i] for i in common)
    expected = np.array([p[i] for i in common] + [max(1 - p[common].sum(), 1e-9)]) * draws
    seen = np.array([counts[i] for i in common] + [rest])
    chi2 = ((seen - expected) ** 2 / np.maximum(expected, 1)).sum()
    # 99.99 % of right samplers are below this at up to 8 degrees of freedom.
    assert chi2 < 32, (seen, expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_step_stays_inside_its_own_distribution(case, options):
    tiny = case("llama")
    surprise = []
    for seed in range(8):
        trace = tiny.engine.trace(PROMPT, max_new_tokens=10, seed=seed, **options)
        ids = [token.id for token in trace.tokens]
        logits = plain.run(tiny.model, ids).logits
        for position in range(trace.prompt_length - 1, len(ids) - 1):
            p = processed(logits[position], **options)
            assert p[ids[position + 1]] > 0
            log_p = np.log(np.maximum(p, 1e-30))
            surprise.append(-log_p[ids[position + 1]] + (p * log_p).sum())
    # On average a drawn token surprises by the entropy of its distribution.
    assert abs(np.mean(surprise)) < 5 * np.std(surprise) / np.sqrt(len(surprise))


def test_the_same_seed_gives_the_same_ids_and_another_others(case):
    tiny = case("llama")

    def draw(seed: int) -> list[int]:
        return new_ids(tiny.engine.trace(PROMPT, max_new_tokens=10, temperature=1.5, seed=seed))

    assert draw(3) == draw(3)
    assert len({tuple(draw(seed)) for seed in range(6)}) == 6


def test_a_longer_run_begins_like_a_shorter_one(case):
    tiny = case("gpt2")
    short = new_ids(tiny.engine.trace(PROMPT, max_new_tokens=4, temperature=1.5, seed=8))
    long = new_ids(tiny.engine.trace(PROMPT, max_new_tokens=9, temperature=1.5, seed=8))
    assert long[:4] == short


def test_one_candidate_is_greedy(case):
    tiny = case("llama")
    trace = tiny.engine.trace(PROMPT, max_new_tokens=8, temperature=0.9, top_k=1, seed=5)
    assert [token.id for token in trace.tokens] == list(tiny.ids)


def test_every_step_draws_anew(case):
    """So hot that all tokens are about equally likely: one draw used for all steps would repeat one token."""
    trace = case("gpt2").engine.trace(PROMPT, max_new_tokens=12, temperature=1e4, seed=1)
    assert len(set(new_ids(trace))) > 6


@pytest.mark.parametrize("temperature", [1e-30, 1e-36, 1e-38, 1e-45, 1e-300])
def test_a_tiny_temperature_is_greedy(temperature):
    logits = torch.tensor([900.0, -3.0, 1000.0, 999.0, -50.0])
    for step in range(5):
        assert choose_token(logits, Generation(max_new_tokens=1, temperature=temperature), step) == 2
    assert choose_token(-logits.abs(), Generation(max_new_tokens=1, temperature=temperature), 0) == 1


def test_logits_that_are_no_numbers_draw_nothing():
    logits = torch.tensor([1.0, float("nan"), 2.0])
    with pytest.raises(iv.TraceError, match="NaN"):
        choose_token(logits, Generation(max_new_tokens=1, temperature=0.5), 0)
