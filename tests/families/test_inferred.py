"""Families that nobody declared: tried by their structure, held to the same identities, or refused with the reason."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

import intravisto_core as iv
from intravisto_core.architectures import AttentionKind, Order, bind, find, names
from intravisto_core.experiments.self_check import check_model
from intravisto_core.models import load
from intravisto_core.models.inferred import infer
from tests import tiny

# OPT has no MLP module, and the eps of OLMo's norm is a number in its code.
NOT_BY_STRUCTURE = {"OPT", "OLMo"}
BY_FUNCTION = {
    "kernel",
    "parallel",
    "order",
    "residual_multiplier",
    "logit_scale",
    "refuse",
    "inferred",
    "alibi",
    "rotated",
    "qk_norms",
    "mlp",
}


def opened(folder: str, **spec: str) -> iv.ModelCard:
    return check_model(load(iv.ModelSpec(folder, device_map="cpu", **spec)))


def through_the_interface() -> list[str]:
    kinds = {name: find(tiny.kind(name)).attention_kind for name in tiny.CONFIGS}
    return [name for name, kind in kinds.items() if kind is AttentionKind.INTERFACE and name not in NOT_BY_STRUCTURE]


@pytest.mark.parametrize("name", through_the_interface())
def test_the_structure_of_a_declared_family_is_found(name):
    """The declarations of the families that were written by hand are what structure alone would have given."""
    model = tiny.build(tiny.CONFIGS[name]()).requires_grad_(False)
    declared = find(tiny.kind(name))
    found = infer(model)
    bound, wanted = bind(found, model), bind(declared, model)
    assert found.inferred
    assert bound.parallel == wanted.parallel
    assert (bound.order is Order.PA_M) == (wanted.order is Order.PA_M)
    assert [block.reader for block in bound.blocks] == [block.reader for block in wanted.blocks]
    assert [block.mlp for block in bound.blocks] == [block.mlp for block in wanted.blocks]
    assert (bound.multiplier, bound.logit_scale) == (wanted.multiplier, wanted.logit_scale)
    left_out = BY_FUNCTION | ({"mid_reader"} if wanted.parallel else set())
    if declared.experts is not None and declared.experts.interleaved:
        # only what fires its neurons tells, and that is held against the run where it is asked for
        declared = replace(declared, experts=replace(declared.experts, interleaved=False))
    for each in fields(declared):
        if each.name not in left_out:
            assert getattr(found, each.name) == getattr(declared, each.name), each.name


@pytest.mark.parametrize("name", [n for n in tiny.UNDECLARED if n != "BitNet"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_undeclared_family_is_held_to_the_identities(tmp_path, name, dtype):
    card = opened(str(tiny.write(tiny.UNDECLARED[name](), tmp_path)), dtype=dtype)
    assert card.family not in names()
    assert card.inferred
    for capability, found in card.capabilities.items():
        assert found.ok, (capability, found.reason)
        assert found.error is None or found.error <= (1e-5 if dtype == "float32" else 2e-2), capability
    assert card.capabilities["residual"].exact


def test_what_does_not_hold_is_lost_with_the_reason(tmp_path):
    """BitNet norms the heads' values before the projection, so patterns and values do not give what it reads."""
    engine = iv.open_model(str(tiny.write(tiny.UNDECLARED["BitNet"](), tmp_path)), device_map="cpu")
    assert not engine.model.capabilities["pattern"].ok
    assert engine.model.capabilities["heads"].ok
    trace = engine.trace((3, 4, 5))
    assert (trace.heatmap().token_ids >= 0).all()
    for site in ("pattern", "q", "v"):
        with pytest.raises(iv.ModelError, match="not shown for this model"):
            trace.activation(site, layer=0)
    engine.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [("Doge", "adds up to the stream"), ("BioGPT", "MLP"), ("CodeGen", "custom attention")],
)
def test_what_cannot_be_found_is_refused(tmp_path, name, said):
    with pytest.raises(iv.ModelError, match=said):
        opened(str(tiny.write(tiny.REFUSED[name](), tmp_path)))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "deepseek_v3", "kv_lora_rank": 512}, "latent attention"),
        ({"model_type": "something_new", "kv_lora_rank": 512}, "latent attention"),
        ({"model_type": "mamba"}, "state-space"),
        ({"model_type": "something_new", "layer_types": ["full_attention", "linear_attention"]}, "state-space"),
        ({"model_type": "t5"}, "encoder-decoder"),
        ({"model_type": "something_new", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "paligemma", "text_config": {}, "vision_config": {}}, "composite"),
        ({"model_type": "mistral3", "text_config": {"model_type": "mistral4"}}, "latent attention"),
        ({"model_type": "something_new"}, "no causal language model"),
    ],
)
def test_what_the_definitions_do_not_fit_is_refused_by_name(tmp_path, config, said):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(iv.ModelError, match=said) as caught:
        iv.open_model(str(tmp_path))
    assert config["model_type"] in str(caught.value)
    assert "llama" in str(caught.value)
