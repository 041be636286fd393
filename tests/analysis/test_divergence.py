"""Entropies and divergences beside those in float64 (docs/methods.md §10): to 1e-5 nats, whatever all logits share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis import decoding
from intravisto_core.analysis.divergence import compute_divergence
from intravisto_core.analysis.lenses import Projection, compute_logits, compute_output_logits
from intravisto_core.analysis.profiles import (
    Profiles,
    compute_logit_divergences,
    compute_profile_divergences,
    compute_profiles,
)
from intravisto_core.models.loading import load
from intravisto_core.request import ModelSpec
from intravisto_core.sites import Site

PROMPT = "The capital of France is"
OFFSETS = [0.0, -100.0, 3000.0]


def exact(z_p: torch.Tensor, z_q: torch.Tensor) -> torch.Tensor:
    log_p, log_q = z_p.double().log_softmax(-1), z_q.double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def grid_of(vocabulary: int, apart: float, offset: float) -> torch.Tensor:
    """Logits of 5 rows and 3 positions, with a peak, that differ by about `apart` from row to row."""
    draw = torch.Generator().manual_seed(vocabulary)
    base = 3 * torch.randn((1, 3, vocabulary), generator=draw)
    base[..., 0] += 8
    z = base + apart * torch.randn((5, 3, vocabulary), generator=draw)
    return z + offset * (1 + torch.rand((5, 3, 1), generator=draw))


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("apart", [1e-4, 1e-2, 2.0])
@pytest.mark.parametrize("vocabulary", [50, 2048, 50_257])
def test_statistics_of_a_grid_are_those_of_float64(vocabulary, apart, offset):
    z = grid_of(vocabulary, apart, offset)
    flat = z.flatten(0, 1)
    found = decoding.compute_sums(flat, flat.amax(-1), (5, 3))
    entropy = -(z.double().softmax(-1) * z.double().log_softmax(-1)).sum(-1)
    torch.testing.assert_close(found.entropy.view(5, 3), entropy, atol=2e-6, rtol=0)
    torch.testing.assert_close(found.kl_last, exact(z[-1].expand_as(z), z), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.kl_below[1:], exact(z[1:], z[:-1]), atol=1e-5, rtol=0)
    assert (found.kl_last[-1] == 0).all()


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("apart", [1e-4, 1e-2, 2.0])
@pytest.mark.parametrize("vocabulary", [50, 2048, 50_257])
def test_a_divergence_is_right_to_a_thousandth_of_itself(vocabulary, apart, offset):
    z = grid_of(vocabulary, apart, offset)
    z_p, z_q = z[1], z[0]
    expected = exact(z_p, z_q)
    torch.testing.assert_close(compute_divergence(z_p, z_q), expected, atol=0, rtol=1e-3)
    assert (compute_divergence(z_p, z_p) == 0).all()


def test_a_divergence_where_probabilities_are_nothing():
    minus = -np.inf
    z_p = torch.tensor([[0.0, minus, minus], [0.0, 0.0, minus], [0.0, -200.0, 0.0], [0.0, -1e30, -1e30]])
    z_q = torch.tensor([[0.0, 0.0, minus], [0.0, minus, 0.0], [-200.0, 0.0, -200.0], [0.0, 0.0, -1e30]])
    found = compute_divergence(z_p, z_q)
    assert found.tolist() == pytest.approx([np.log(2), np.inf, 200 - np.log(2), np.log(2)], rel=1e-6)


@pytest.fixture(scope="module")
def demo():
    engine = iv.open_model("demo")
    yield engine.trace(PROMPT)
    engine.close()


def test_the_last_row_of_the_demo_is_no_distance_from_itself(demo):
    grid = demo.heatmap()
    assert np.abs(grid.kl_final[-1]).max() <= 1e-5
    z = torch.stack([torch.from_numpy(demo.logits(p)) for p in grid.positions])
    entropy = -(z.double().softmax(-1) * z.double().log_softmax(-1)).sum(-1)
    np.testing.assert_allclose(grid.entropy[-1], entropy, atol=1e-5)


@torch.no_grad()
def test_shares_of_the_demo_are_those_of_float64(demo):
    model = load(ModelSpec("demo"))
    found = demo.shares("kl")
    for layer in range(model.dimensions.n_layers):
        whole = torch.from_numpy(demo.activation(Site.RESID_MID, layer))
        parts = [torch.from_numpy(demo.activation(site, layer)) for site in (Site.RESID_PRE, Site.ATTN_OUT)]
        lost = [
            exact(compute_output_logits(model, whole), compute_output_logits(model, whole - part)) for part in parts
        ]
        np.testing.assert_allclose(found.attention[layer], lost[1] / (lost[0] + lost[1]), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("shared", [0.0, 3.0])
def test_divergences_of_links_are_those_of_float64(shared):
    """shared: what all rows of the table have in common, so that all logits are far from 0."""
    model = load(ModelSpec("demo"))
    draw = torch.Generator().manual_seed(0)
    d_model = model.dimensions.d_model
    model.blueprint.unembed.weight.data += shared * torch.randn((1, d_model), generator=draw)
    x_hat = model.final_state(torch.randn((20, d_model), generator=draw))
    x_hat = torch.cat([x_hat, x_hat + 1e-3 * torch.randn((20, d_model), generator=draw)])
    z = compute_logits(model, Projection(x_hat, torch.ones(40)))
    upper, lower = torch.arange(20), torch.arange(20, 40)
    whole = compute_profiles(model, x_hat, z.clone())
    of_upper = Profiles(whole.log_sum[upper], whole.mean[upper])
    expected = exact(*(x_hat[side].double() @ model.weights.get("unembed").double().T for side in (upper, lower)))
    by_profile = compute_profile_divergences(model, (of_upper, x_hat[upper]), (whole.log_sum[lower], x_hat[lower]))
    torch.testing.assert_close(by_profile, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(compute_logit_divergences(model, x_hat, upper, lower), expected, atol=1e-5, rtol=0)
