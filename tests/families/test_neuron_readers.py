"""The neurons of every family, made again from the stream by the rows that are said to fire them."""

from __future__ import annotations

import pytest
import torch

from intravisto_core.analysis.experts import read_mixture, run_expert
from intravisto_core.models.mlp_reader import fire, read_neurons
from intravisto_core.sites import Site
from tests import tiny
from tests.inside import context_of

ALLOWED = 1e-6
NO_NEURONS = "Llama-4 with images"


@pytest.mark.parametrize("name", [n for n in tiny.CONFIGS if n != NO_NEURONS])
def test_neurons_are_what_their_rows_make_of_the_stream(family, name):
    case = family(name)
    context = context_of(case.engine, case.trace)
    model, data = context.model, context.data
    for layer in range(model.dimensions.n_layers):
        x = data.site(Site.RESID_PRE if model.blueprint.parallel else Site.RESID_MID, layer).float()
        for expert, positions, act in _each(context, layer):
            reader = read_neurons(model, layer, torch.arange(act.shape[1]), expert)
            made = fire(model, layer, *reader.inputs(x[positions]), expert)
            assert (made - act).norm() <= ALLOWED * act.norm(), (layer, expert)
            one = read_neurons(model, layer, torch.tensor([3, 1]), expert)
            assert torch.equal(one.up, reader.up[[3, 1]])
            if reader.gate is not None:
                assert torch.equal(one.gate, reader.gate[[3, 1]])


def _each(context, layer):
    """(expert, positions, act), −1 without experts."""
    if context.model.blueprint.blocks[layer].experts is None:
        act = context.data.site(Site.ACT, layer).float()
        yield -1, torch.arange(len(act)), act
        return
    routing = context.data.routed(layer)
    for expert in read_mixture(context.model, layer, routing)[0].unique().tolist():
        run = run_expert(context.model, layer, expert, routing)
        yield expert, run.positions, run.act


def test_lengths_of_columns_are_computed_once(case):
    model = context_of(case("llama").engine, case("llama").trace).model
    found = model.weights.lengths("w_out.1")
    assert model.weights.lengths("w_out.1") is found
    assert torch.allclose(found, model.weights.get("w_out.1").float().norm(dim=0))
