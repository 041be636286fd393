"""Shares of a junction's parts (docs/methods.md §5): worked by hand, by their laws, and on real traces."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import intravisto_core as iv
from intravisto_core.analysis.shares import measure_shares
from intravisto_core.sites import ShareMeasure
from tests.reference import slow

MEASURES = tuple(str(m) for m in ShareMeasure)
FAMILIES = ("llama", "gpt2", "granite", "gemma2")


@pytest.fixture(scope="module", params=["open here", "at a service"])
def case(request, case):
    """Every test of this file runs on both kinds of engine."""
    return case if request.param == "open here" else request.getfixturevalue("case_at_service")


def as_logits(x: torch.Tensor) -> torch.Tensor:
    """A lens that reads a vector as its own logits: divergences can then be worked by hand."""
    return x


def of(measure: str, *parts: list[float]) -> np.ndarray:
    """Shares of the parts of one junction."""
    stacked = torch.tensor(parts, dtype=torch.float32)[:, None, :]
    return measure_shares(stacked, ShareMeasure(measure), as_logits)[:, 0].double().numpy()


def test_norm_by_hand():
    np.testing.assert_allclose(of("norm", [3, 0], [1, 4]), [3 / (3 + sqrt(17)), sqrt(17) / (3 + sqrt(17))], 1e-6)


def test_projection_by_hand():
    # w = (4, 4), ⟨w,w⟩ = 32; ⟨a,w⟩ = 12, ⟨b,w⟩ = 20.
    np.testing.assert_allclose(of("projection", [3, 0], [1, 4]), [12 / 32, 20 / 32], 1e-6)
    # w = (2, 0): a part against the sum counts negative.
    np.testing.assert_allclose(of("projection", [-1, 0], [3, 0]), [-0.5, 1.5], 1e-6)


def test_l1_by_hand():
    # ‖w‖₁ = 8; without a: 5, without b: 3.
    np.testing.assert_allclose(of("l1", [3, 0], [1, 4]), [3 / 8, 5 / 8], 1e-6)
    # w = (2, 0): without a it is 3, so a brings nothing nearer and counts 0.
    np.testing.assert_allclose(of("l1", [-1, 0], [3, 0]), [0, 1], atol=1e-7)


def test_kl_by_hand():
    # w = (ln 2, ln 3) reads (2/5, 3/5). Without a: (1/4, 3/4); without b: (2/3, 1/3).
    without_a = 0.4 * log(0.4 / 0.25) + 0.6 * log(0.6 / 0.75)
    without_b = 0.4 * log(0.4 * 3 / 2) + 0.6 * log(0.6 * 3)
    expected = np.array([without_a, without_b]) / (without_a + without_b)
    np.testing.assert_allclose(of("kl", [log(2), 0], [0, log(3)]), expected, 1e-5)


def test_kl_pair_by_hand():
    # a alone reads (2/3, 1/3), b alone (1/4, 3/4): the nearer one has the larger share.
    far_a = 0.4 * log(0.4 * 3 / 2) + 0.6 * log(0.6 * 3)
    far_b = 0.4 * log(0.4 / 0.25) + 0.6 * log(0.6 / 0.75)
    expected = np.array([far_b, far_a]) / (far_a + far_b)
    np.testing.assert_allclose(of("kl_pair", [log(2), 0], [0, log(3)]), expected, 1e-5)


def test_kl_of_three_parts_by_hand():
    # Only the first part moves the prediction: a constant shift of all logits says nothing.
    np.testing.assert_allclose(of("kl", [log(3), 0], [1, 1], [0, 0]), [1, 0, 0], atol=1e-5)


def test_undefined_where_nothing_counts():
    assert np.isnan(of("kl", [1, 1], [2, 2])).all()
    assert np.isnan(of("norm", [0, 0], [0, 0])).all()
    assert np.isnan(of("projection", [1, 2], [-1, -2])).all()
    assert np.isnan(of("l1", [1, -2], [-1, 2])).all()


def test_the_kl_pair_is_of_two_parts_only():
    with pytest.raises(iv.IntravistoError, match="two"):
        of("kl_pair", [1, 0], [0, 1], [1, 1])


numbers = st.floats(-8, 8, allow_nan=False, width=32)
several_parts = hnp.arrays(np.float32, st.tuples(st.integers(2, 4), st.just(1), st.just(5)), elements=numbers)
two_parts = hnp.arrays(np.float32, (2, 1, 5), elements=numbers)
table = torch.tensor(np.random.default_rng(0).normal(size=(5, 11)), dtype=torch.float32)


def read(x: torch.Tensor) -> torch.Tensor:
    return x @ table


def share_of(parts: np.ndarray, measure: str) -> np.ndarray:
    return measure_shares(torch.tensor(parts), ShareMeasure(measure), read)[:, 0].double().numpy()


def well_defined(parts: np.ndarray, measure: str) -> np.ndarray:
    """Shares, where the junction is not so near to undefined that rounding decides."""
    whole = parts.sum(0)
    assume(np.abs(whole).max() > 0.05)
    assume(max(np.abs(p).max() for p in parts) > 0.05)
    share = share_of(parts, measure)
    assume(np.isfinite(share).all())
    return share


@pytest.mark.parametrize("measure", [m for m in MEASURES if m != "kl_pair"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(parts=several_parts)
def test_laws_of_shares(measure, parts):
    share = well_defined(parts, measure)
    assert share.sum() == pytest.approx(1, abs=1e-4 * max(1, np.abs(share).max()))
    if measure != "projection":
        assert (share >= 0).all()
        assert (share <= 1 + 1e-6).all()

    order = np.roll(np.arange(len(parts)), 1)
    np.testing.assert_allclose(share_of(parts[order], measure), share[order], atol=2e-3)

    longer = share_of(np.concatenate([parts, np.zeros_like(parts[:1])]), measure)
    assert longer[-1] == 0
    np.testing.assert_allclose(longer[:-1], share, atol=2e-3)

    if measure != "kl":
        np.testing.assert_allclose(share_of(parts * 4, measure), share, atol=1e-4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(parts=two_parts)
def test_laws_of_the_kl_pair(parts):
    share = well_defined(parts, "kl_pair")
    assert share.sum() == pytest.approx(1, abs=1e-5)
    assert (share >= 0).all()
    np.testing.assert_allclose(share_of(parts[::-1].copy(), "kl_pair"), share[::-1], atol=2e-3)


def test_a_junction_does_not_depend_on_its_neighbours():
    parts = torch.tensor(np.random.default_rng(1).normal(size=(2, 6, 5)), dtype=torch.float32)
    for measure in ShareMeasure:
        together = measure_shares(parts, measure, read)
        alone = torch.cat([measure_shares(parts[:, i : i + 1], measure, read) for i in range(6)], dim=1)
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("family", FAMILIES)
def test_shares_of_a_trace_equal_the_literal_reading(case, family, measure):
    tiny = case(family)
    record = tiny.trace.shares(measure=measure)
    assert record.attention.shape == (tiny.decoder.n_layers, len(tiny.ids))
    for layer, position in np.ndindex(record.attention.shape):
        first, second = (tiny.cells.shares(measure, parts) for parts in tiny.cells.parts(layer, position))
        got = [
            record.attention[layer, position],
            record.residual_attention[layer, position],
            record.mlp[layer, position],
            record.residual_mlp[layer, position],
        ]
        expected = [first["attention"], first["residual"], second["mlp"], second["residual"]]
        np.testing.assert_allclose(got, expected, atol=2e-4, err_msg=f"layer {layer}, position {position}")


def test_attention_contribution_is_attentions_own_share(case):
    tiny = case("llama")
    record = tiny.trace.shares()
    assert str(record.measure) == "norm"
    sites = tiny.run.sites
    attention = np.linalg.norm(sites["attn_out"][0], axis=-1)
    stream = np.linalg.norm(sites["resid_pre"][0], axis=-1)
    np.testing.assert_allclose(record.attention[0], attention / (attention + stream), rtol=1e-4)


def test_a_wrong_measure_is_refused_with_the_right_ones(case):
    with pytest.raises(iv.IntravistoError, match="projection"):
        case("llama").trace.shares(measure="size")


def test_the_slow_reading_itself_is_right():
    decoder = slow.Decoder(
        embed=np.eye(2),
        unembed=np.eye(2),
        bias=np.zeros(2),
        gamma=np.ones(2),
        beta=np.zeros(2),
        eps=0.0,
        centred=False,
        scale=1.0,
        soft_cap=0.0,
        n_layers=1,
    )
    cells = slow.Cells(decoder, run=None)
    parts = {"residual": np.array([3.0, 0.0]), "attention": np.array([1.0, 4.0])}
    assert cells.shares("projection", parts) == {"residual": 12 / 32, "attention": 20 / 32}
    assert cells.shares("l1", parts) == {"residual": 3 / 8, "attention": 5 / 8}
    assert slow.entropy(np.array([0.0, 0.0, -np.inf])) == pytest.approx(log(2))
