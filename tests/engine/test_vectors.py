"""Vectors outside a run: read by a lens, given to any module; and all logits of any cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny
from tests.reference.equal import assert_close


@pytest.fixture(scope="module")
def llama(case):
    return case("llama")


def test_the_logit_lens_by_hand_equals_the_program_s(llama):
    """As nnsight's: any module on any hidden state."""
    engine, trace = llama.engine, llama.trace
    states = trace.activation("resid_post", 1)
    by_hand = engine.apply("lm_head", engine.apply("model.norm", states))
    for position in (0, 3, -1):
        assert_close(by_hand[position], trace.logits(position, row=2))
    grid = trace.heatmap(top_k=3)
    decoded = engine.decode(states, top_k=3)
    np.testing.assert_array_equal(decoded.token_ids, grid.token_ids[2])
    assert_close(decoded.probabilities, grid.probabilities[2])
    assert_close(decoded.entropy, grid.entropy[2], 1e-5)
    with torch.no_grad():
        plain = llama.model.lm_head(llama.model.model.norm(torch.from_numpy(states)))
    assert_close(by_hand, plain.numpy())


@pytest.mark.parametrize("lens", ["output", "input", "linear", "quadratic", "max"])
@pytest.mark.parametrize("component", ["block", "mlp"])
def test_all_logits_of_a_cell_are_those_that_its_grid_ranks(llama, lens, component):
    trace = llama.trace
    norm = "final" if lens == "max" else None
    grid = trace.heatmap(component=component, lens=lens, norm=norm, top_k=4)
    for row, position in ((1, 2), (2, 5), (-1, 3) if component == "block" else (3, 3)):
        z = trace.logits(position, row=row, component=component, lens=lens, norm=norm)
        best = np.argsort(-z, kind="stable")[:4]
        np.testing.assert_array_equal(best, grid.token_ids[row, position])
        if component == "block":
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            assert_close(p[best], grid.probabilities[row, position], 1e-5)


def test_the_last_row_is_the_model_s_own(llama):
    assert_close(llama.trace.logits(4, row=4), llama.trace.logits(4))
    assert_close(llama.trace.logits(row=-1), llama.trace.logits())


def test_one_vector_counts_as_one_and_a_mixed_lens_is_told_the_row(llama):
    x = llama.trace.activation("resid_post", 0)[3]
    one = llama.engine.decode(x, lens="linear", row=1, top_k=2)
    assert one.token_ids.shape == (1, 2)
    np.testing.assert_array_equal(one.token_ids[0], llama.trace.heatmap(lens="linear", top_k=2).token_ids[1, 3])
    again = llama.engine.decode(torch.tensor(x), lens=iv.Lens.LINEAR, row=1, top_k=2)
    np.testing.assert_array_equal(again.logits, one.logits)
    assert list(again.frame().columns)[:4] == ["vector", "rank", "token_id", "token"]


def test_an_embedding_takes_ids_and_a_tuple_stays_one(llama):
    ids = llama.ids
    assert_close(llama.engine.apply("model.embed_tokens", ids), llama.trace.activation("resid_pre", 0))
    inside = []

    def look(x):
        inside.append(llama.engine.apply("lm_head", llama.engine.apply("model.norm", x)))

    llama.engine.trace(tiny.PROMPT, interventions=[iv.Apply("resid_post", 1, -1, look)])
    assert isinstance(inside[0], torch.Tensor)
    position = llama.trace.prompt_length - 1
    assert_close(inside[0][0].numpy(), llama.trace.logits(position, row=2))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda e: e.decode(np.zeros(31)), r"x: expected vectors of 32 numbers; got \(31,\)"),
        (lambda e: e.decode(np.zeros((2, 2, 32))), r"x: expected a vector \(d\), or vectors \(n, d\)"),
        (lambda e: e.decode("abc"), "x: expected an array of numbers"),
        (lambda e: e.decode(np.full(32, np.nan)), "finite numbers"),
        (lambda e: e.decode(np.zeros(32), norm="stream"), "a vector alone has none"),
        (lambda e: e.decode(np.zeros(32), row=5), "row: expected -5 to 4; got 5"),
        (lambda e: e.decode(np.zeros(32), top_k=33), "top_k: expected 1 to 32"),
        (lambda e: e.apply("model.nrm", np.zeros(32)), r"nearest: model\.norm"),
        (lambda e: e.apply("lm_head", np.zeros(31)), r"lm_head: expected an array that this Linear takes alone"),
        (
            lambda e: e.apply("model.layers.0.self_attn", np.zeros((1, 2, 32))),
            "expected an array that this .* takes alone",
        ),
        (lambda e: e.apply("model.norm:input", np.zeros(32)), "the path of a module alone"),
    ],
)
def test_what_does_not_fit_is_refused(llama, ask, message):
    with pytest.raises(iv.RequestError, match=message):
        ask(llama.engine)


def test_a_blank_cell_says_why_it_has_no_logits(llama):
    with pytest.raises(iv.RequestError, match="not blank; the embeddings have no MLP"):
        llama.trace.logits(0, row=0, component="mlp")
    with pytest.raises(iv.RequestError, match="row: expected a heatmap row"):
        llama.trace.logits(0, lens="input")
