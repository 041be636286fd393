"""Queries, keys and values of every family, made again from the stream by the formulas that scores are split with."""

from __future__ import annotations

import pytest
import torch

import intravisto_core as iv
from intravisto_core.models.reader import read_readers
from intravisto_core.models.rotation import read_rotation
from intravisto_core.sites import Site
from tests import tiny

ALLOWED = 1e-6
# it takes the root mean square of a query after its positions were turned in
NOT_KNOWN = "Llama-4 with images"


@pytest.mark.parametrize("name", [n for n in tiny.CONFIGS if n != NOT_KNOWN])
def test_queries_and_keys_are_what_the_run_captured(family, name):
    """But for one factor for all numbers: OPT scales its queries itself."""
    case = family(name)
    traces, trace = case.engine.kept_traces, case.trace
    model, data = traces.model, traces.kept_data(traces.entry(trace.id, ""))
    for layer in range(model.dimensions.n_layers):
        rotation = read_rotation(model, layer, data.length)
        x = data.site(Site.RESID_PRE, layer).float()
        for reader, site in zip(read_readers(model, layer), (Site.Q, Site.K), strict=True):
            captured = data.site(site, layer).float()
            made = torch.stack([rotation.apply(reader.read(x, head)) for head in range(len(captured))])
            factor = model.dimensions.d_head**-0.5 if (name, site) == ("OPT", Site.Q) else 1.0
            assert (captured - factor * made).norm() <= ALLOWED * captured.norm(), (layer, site)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_values_are_what_the_run_captured(family, name):
    case = family(name)
    traces, trace = case.engine.kept_traces, case.trace
    model, data = traces.model, traces.kept_data(traces.entry(trace.id, ""))
    for layer in range(model.dimensions.n_layers):
        x = read_readers(model, layer)[0].normed(data.site(Site.RESID_PRE, layer).float())
        weight, bias = model.weights.get(f"w_v.{layer}").float(), model.weights.bias(f"w_v.{layer}")
        v = x @ weight.T + (0 if bias is None else bias)
        limit = getattr(model.config, "clip_qkv", None) or getattr(
            model.blueprint.blocks[0].attention, "clip_qkv", None
        )
        captured = data.site(Site.V, layer).float().transpose(0, 1).flatten(1)
        made = v.clamp(-limit, limit) if limit else v
        assert made.shape == captured.shape == (data.length, model.weights.shape(f"w_v.{layer}")[0])
        assert (captured - made).norm() <= ALLOWED * captured.norm(), layer


def test_a_rotation_is_undone_by_its_transpose(family):
    case = family("GPT-NeoX, parallel")
    model = case.engine.kept_traces.model
    rotation = read_rotation(model, 0, 9)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn((2, 3, 9, model.dimensions.d_head), dtype=torch.float64, generator=generator)
    assert not torch.allclose(rotation.apply(x), x)
    assert torch.allclose((rotation.apply(x) * y).sum(-1), (x * rotation.undo(y)).sum(-1))
    alone = rotation.at(slice(4, 5))
    assert torch.allclose(alone.apply(x[:, 4:5]), rotation.apply(x)[:, 4:5])


def test_what_is_not_known_is_refused_in_words(family):
    model = family(NOT_KNOWN).engine.kept_traces.model
    with pytest.raises(iv.ModelError, match="rotary positions of llama4_text"):
        read_rotation(model, 0, 4)


def test_rows_of_a_fused_matrix_are_those_of_the_whole(family):
    weights = family("Falcon, new decoder").engine.kept_traces.model.weights
    whole = weights.get("w_k.0")
    assert torch.equal(weights.get("w_k.0", slice(3, 7)), whole[3:7])
    assert torch.equal(weights.get("w_k.0", torch.tensor([5, 1])), whole[[5, 1]])
    assert weights.shape("w_q.0")[0] == 2 * weights.shape("w_k.0")[0]
