"""Copying and composition against transformer-lens after its own folding, and scores of heads on patterns by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intravisto_core.engine.jobs.head_types import measure_pattern_scores
from tests.reference import hooked

ALLOWED = 1e-4


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@torch.no_grad()
def test_composition_is_that_of_transformer_lens(case, name):
    """Its scores of factored matrices, on weights with norms' γ folded in; of GPT-2 centred along the stream too."""
    each = case(name)
    lens = hooked.build(each.model, fold_ln=True)
    chance = 1 / np.sqrt(lens.cfg.d_model - (name == "gpt2"))
    scores = {way: lens.all_composition_scores(way.upper()).numpy() for way in ("q", "k", "v")}
    for layer, head in ((1, 2), (2, 0)):
        found = each.engine.head_composition(layer, head)
        assert found.chance == pytest.approx(chance)
        for way, wanted in scores.items():
            assert getattr(found, way) + chance == pytest.approx(wanted[:layer, :, layer, head], abs=ALLOWED), way


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@torch.no_grad()
def test_copying_is_that_of_the_whole_circuit_over_the_vocabulary(case, name):
    """Eigenvalues of W_E W_V W_O W_U, V × V, in transformer-lens's folded weights, output table centred."""
    each = case(name)
    lens = hooked.build(each.model, fold_ln=True)
    unembed = lens.W_U - lens.W_U.mean(1, keepdim=True)
    found = each.engine.head_types(tokens=8, texts=1).copying
    for layer, head in ((0, 1), (2, 3)):
        circuit = lens.W_E @ lens.W_V[layer, head] @ lens.W_O[layer, head] @ unembed
        roots = torch.linalg.eigvals(circuit.double())
        wanted = (roots.real.sum() / roots.abs().sum()).item()
        assert found[layer, head] == pytest.approx(wanted, abs=1e-3)


class Seen:
    """What `measure_pattern_scores` asks of a run, with patterns that are given."""

    facts = (None,)

    def __init__(self, pattern: torch.Tensor) -> None:
        self._pattern, self.length = pattern, pattern.shape[1]

    def site(self, *_: object) -> torch.Tensor:
        return self._pattern

    def pattern(self, _: int, heads: slice) -> torch.Tensor:
        return self._pattern[heads]


def test_scores_of_heads_on_patterns_by_hand():
    """One token before two times three: every head looks at one place alone."""
    n, length = 3, 7
    pattern = torch.zeros((5, length, length))
    for i in range(length):
        second = i >= length - n
        for head, key in enumerate((i - 1, i - n if second else 0, i - n + 1 if second else 0, 0, i)):
            pattern[head, i, max(0, key)] = 1
    found = measure_pattern_scores(Seen(pattern), 0, n)  # type: ignore[arg-type]
    # the key of induction is where the first time ends for the last token of the second: i − n + 1
    assert found["previous"].tolist() == pytest.approx([1, 0, 0, 1 / 6, 0], abs=0.17)
    assert found["duplicate"].tolist() == [0, 1, 0, 0, 0]
    assert found["induction"].tolist() == [0, 0, 1, 0, 0]
    assert found["first"].tolist() == pytest.approx([1 / 6, 0.5, 0.5, 1, 0])
    assert found["entropy"].tolist() == [0] * 5
    even = torch.tril(torch.ones((1, length, length))) / torch.arange(1, length + 1)[:, None]
    entropy = measure_pattern_scores(Seen(even), 0, n)["entropy"]  # type: ignore[arg-type]
    assert entropy.item() == pytest.approx(np.mean(np.log(np.arange(2, length + 1))))
