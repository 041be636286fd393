"""8 and 4 bits on the CPU: the identities hold at their own tolerance, and using a model leaves it as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import intravisto_core as iv
from intravisto_core.models import load, quantisation
from intravisto_core.models.weights import Weights
from tests import tiny
from tests.loading.conftest import error

pytest.importorskip("bitsandbytes")

FAMILIES = ("GPT-2", "Llama")
KINDS = ("int8", "nf4")
PROMPT = tuple(range(5, 25))


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """`engines(family, kind)`: that tiny model, packed; opened once."""
    made, folders = {}, tmp_path_factory.mktemp("quantised")

    def get(family, kind, dtype="auto"):
        if not (folders / family).is_dir():
            tiny.write(tiny.CONFIGS[family](), folders / family)
        key = family, kind, dtype
        if key not in made:
            made[key] = iv.open_model(folders / family, quantisation=kind, dtype=dtype)
        return made[key]

    yield get
    for engine in made.values():
        engine.close()


def packed_bytes(network) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_identities_hold(engines, family, kind):
    engine = engines(family, kind)
    for capability, found in engine.model.capabilities.items():
        assert found.ok, (capability, found.reason)
        assert found.allowed == 5e-2
    assert engine.model.capabilities["traced"].exact
    assert engine.model.capabilities["residual"].exact
    plain = AutoModelForCausalLM.from_pretrained(engine.spec.source)
    assert engine.model.n_parameters == plain.num_parameters()
    assert engine.model.weight_bytes < sum(p.nbytes for p in plain.parameters())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_beside_four_bits(engines, dtype):
    engine = engines("Llama", "nf4", dtype)
    assert engine.model.dtype == dtype
    assert all(found.ok for found in engine.model.capabilities.values())
    assert np.isfinite(engine.trace(PROMPT).logits()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_heads_and_neurons_add_up_with_the_dequantised_weights(engines, family, kind):
    trace = engines(family, kind).trace(PROMPT)
    weights: Weights = engines(family, kind).kept_traces.model.weights
    for layer in range(2):
        attn_out, mlp_out = (trace.activation(site, layer) for site in ("attn_out", "mlp_out"))
        z = trace.activation("z", layer).transpose(1, 0, 2).reshape(len(PROMPT), -1)
        act = trace.activation("act", layer)
        for name, x, out in (("w_o", z, attn_out), ("w_out", act, mlp_out)):
            bias = weights.bias(f"{name}.{layer}")
            total = x @ weights.get(f"{name}.{layer}").numpy().T + (0 if bias is None else bias.numpy())
            # int8 rounds the activations as well; 4 bits keep them
            assert error(total, out) <= (5e-2 if kind == "int8" else 1e-5), (name, layer)


def test_a_packed_matrix_is_near_the_one_that_it_stands_for(engines):
    for family in FAMILIES:
        folder = engines(family, "int8").spec.source
        plain = load(iv.ModelSpec(folder)).weights
        for kind, allowed in (("int8", 1e-2), ("nf4", 0.3)):
            weights = engines(family, kind).kept_traces.model.weights
            for name in ("w_o.1", "w_out.0"):
                whole = weights.get(name)
                assert error(whole.reshape(1, -1).numpy(), plain.get(name).reshape(1, -1).numpy()) <= allowed, name
                assert whole.shape == weights.shape(name) == plain.shape(name)
                assert torch.equal(weights.get(name, slice(3, 9)), whole[3:9])


@pytest.mark.parametrize("kind", KINDS)
def test_two_trees_tell_what_packing_changed(engines, kind):
    """Types and bytes as they are stored, values as they are computed with."""
    engine = engines("Llama", kind)
    plain = AutoModelForCausalLM.from_pretrained(engine.spec.source)
    found = {change.path: change for change in iv.compare_trees(plain, engine).changes}
    change = found["model.layers.1.mlp.down_proj"]
    assert (change.kind, change.cls[0]) == ("structure", "Linear")
    assert kind in change.dtypes[1]["weight"]
    assert change.n_bytes[1] < change.n_bytes[0]
    whole, packed = (m.double() for m in (plain.model.layers[1].mlp.down_proj.weight, find_packed(engine)))
    assert change.values["weight"] == pytest.approx(float((packed - whole).norm() / whole.norm()), rel=1e-3)
    assert found["model.norm"].values["weight"] == 0


def find_packed(engine) -> torch.Tensor:
    return engine.kept_traces.model.weights.get("w_out.1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_after_a_trace_is_equal_and_nothing_was_repacked(engines, kind):
    engine = engines("Llama", kind)
    before = packed_bytes(engine.kept_traces.model.network)
    first = engine.trace(PROMPT, max_new_tokens=3)
    first.heatmap("mlp")
    first.shares("kl")
    second = engine.trace(PROMPT, max_new_tokens=3)
    for site in ("resid_pre", "q", "z", "act"):
        np.testing.assert_array_equal(first.activation(site, 1), second.activation(site, 1))
    np.testing.assert_array_equal(first.logits(), second.logits())
    after = packed_bytes(engine.kept_traces.model.network)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_used_model_is_never_saved(engines, monkeypatch):
    def saved(*args: object, **options: object) -> None:
        raise AssertionError("a packed model was written to disk")

    monkeypatch.setattr(torch, "save", saved)
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", saved)
    engine = engines("Llama", "nf4")
    engine.trace(PROMPT).heatmap()


def test_without_bitsandbytes_it_says_what_to_install(tiny_llama, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(iv.MissingProgramError, match=r"pip install.*quantisation"):
        iv.open_model(tiny_llama, quantisation="nf4")


def test_checkpoints_that_are_quantised_already(tiny_llama):
    with pytest.raises(iv.ModelError, match="gptq"):
        quantisation.check_stored({"quantization_config": {"quant_method": "gptq"}}, "it")
    packed = {"quantization_config": {"quant_method": "bitsandbytes"}}
    quantisation.check_stored(packed, "it")
    with pytest.raises(iv.ModelError, match="already"):
        quantisation.check_asked(packed, iv.ModelSpec("it", quantisation="nf4"), "it")
    with pytest.raises(iv.RequestError, match="offload"):
        iv.ModelSpec(str(tiny_llama), quantisation="int8", device_map="offload")
