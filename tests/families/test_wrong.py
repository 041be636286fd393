"""What is declared wrongly must be caught, and what cannot be shown rightly is refused with the reason."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core.architectures import AttentionKind, ExpertPaths, NormKind, Order, find, registry
from intravisto_core.experiments.self_check import check_model
from intravisto_core.models import load
from intravisto_core.records import ModelCard
from intravisto_core.tracing import capture
from tests import tiny
from tests.case import Case

SERIAL = {"parallel": lambda config: False}

REFUSED = [
    ("GPT-NeoX, parallel", SERIAL, "stream adds up"),
    ("GPT-NeoX, parallel", {"final_norm": "layers.1.input_layernorm"}, "logits"),
    ("GPT-Neo", {"attn_out": "ln_1"}, "stream adds up"),
    ("GPT-J", {"mlp_out": "attn"}, "stream adds up"),
    ("GPT-J", {"attention_kind": AttentionKind.BLOOM}, "_reshape"),
    ("OPT", {"mlp_out": "fc1", "w_out": "fc1"}, "declared for opt"),
    ("OPT", {"mid_reader": "self_attn_layer_norm"}, "stream adds up"),
    ("Bloom", {"attn_out": "self_attention"}, "stream adds up"),
    ("Bloom", {"mlp_out": "mlp"}, "stream adds up"),
    ("MPT", {"mlp_out": "ffn"}, "stream adds up"),
    ("MPT", {"attention_kind": AttentionKind.INTERFACE}, "attention"),
    ("Falcon, 7B", {"attention_kind": AttentionKind.MPT}, "softmax_scale"),
    ("Falcon, 7B", SERIAL, "post_attention_layernorm"),
    ("Phi", {"norm": NormKind.RMS}, "logits"),
    ("StableLM, parallel", SERIAL, "post_attention_layernorm"),
    ("StarCoder2", {"norm": NormKind.RMS}, "logits"),
    ("Cohere", {"logit_scale": lambda config: 1.0}, "logits"),
    ("Cohere-2", {"mid_reader": "mlp"} | SERIAL, "stream adds up"),
    ("Nemotron", {"norm_offset": 0.0}, "logits"),
    ("OLMo", {"norm_eps": 1e-2}, "logits"),
    ("OLMo-2", {"attn_out": "self_attn"}, "stream adds up"),
    ("Gemma", {"norm_offset": 0.0}, "logits"),
    ("Gemma-3", {"mid_reader": "mlp"}, "stream adds up"),
    ("GLM-4", {"mlp_out": "mlp"}, "stream adds up"),
    ("Mixtral", {"w_out": "mlp.down_proj"}, "down_proj"),
    ("Mixtral", {"experts": ExpertPaths(router="mlp.router")}, "mlp.router"),
    ("OLMoE", {"experts": ExpertPaths(experts="mlp.expert")}, "down_proj"),
    ("Qwen3-MoE", {"experts": ExpertPaths(w_out="fc2")}, "fc2"),
    ("gpt-oss", {"mlp_out": "post_attention_layernorm"}, "stream adds up"),
]

# Wrong where it costs a capability and not the model.
LOST = [
    ("GPT-Neo", {"w_o": "attn.attention.q_proj"}, "pattern heads"),
    ("GPT-J", {"w_o": "attn.q_proj"}, "pattern heads"),
    ("Falcon, ALiBi", {"kernel": lambda config: "eager"}, "pattern"),
    ("OLMo-2", {"attn_post_norm": None}, "heads"),
    ("OLMo-2", {"mlp_post_norm": None}, "neurons"),
    ("Qwen2-MoE", {"experts": ExpertPaths()}, "neurons"),
    ("Qwen2-MoE", {"experts": ExpertPaths(shared="mlp.shared_expert")}, "neurons"),
    ("Phi-MoE", {"experts": ExpertPaths(router="mlp")}, "neurons"),
    ("Phi", {"order": Order.PA_M}, ""),
    ("StableLM, parallel", {"order": Order.MA_P}, ""),
]


def open_as(monkeypatch: pytest.MonkeyPatch, case: Case, changes: dict) -> ModelCard:
    declared = case.engine.model.family
    monkeypatch.setitem(registry._BY_FAMILY, declared, replace(find(declared), **changes))
    return check_model(load(iv.ModelSpec(str(case.folder), device_map="cpu")))


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_a_wrong_declaration_is_refused(monkeypatch, family, name, changes, said):
    with pytest.raises(iv.ModelError, match=said):
        open_as(monkeypatch, family(name), changes)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_the_other_norm_is_refused(monkeypatch, family, name):
    """One wrong declaration for every family there is."""
    other = {NormKind.RMS: NormKind.LAYER, NormKind.LAYER: NormKind.RMS}[find(tiny.kind(name)).norm]
    with pytest.raises(iv.ModelError, match="logits"):
        open_as(monkeypatch, family(name), {"norm": other})


@pytest.mark.parametrize(("name", "changes", "lost"), LOST)
def test_a_wrong_declaration_costs_what_it_touches(monkeypatch, family, name, changes, lost):
    card = open_as(monkeypatch, family(name), changes)
    assert [str(c) for c, found in card.capabilities.items() if not found.ok] == lost.split()
    assert card.capabilities["residual"].exact == bool(lost)


@pytest.mark.parametrize(
    ("name", "forgotten"),
    [
        ("gpt-oss", {"sinks": None}),
        ("Bloom", {"key_bias": None}),
        ("MPT", {"key_bias": None}),
        ("Falcon, ALiBi", {"key_bias": None}),
        ("Gemma-2", {"soft_cap": 0.0}),
        ("Granite", {"scaling": 0.5}),
    ],
)
def test_a_forgotten_part_of_the_scores_costs_the_patterns(monkeypatch, family, name, forgotten):
    keep = capture.CaptureSink.attention

    def attention(self, layer, call):
        keep(self, layer, replace(call, facts=replace(call.facts, **forgotten)))

    monkeypatch.setattr(capture.CaptureSink, "attention", attention)
    card = open_as(monkeypatch, family(name), {})
    assert [str(c) for c, found in card.capabilities.items() if not found.ok and found.error is not None] == ["pattern"]


def with_config(case: Case, folder: Path, **changes: object) -> str:
    copy = shutil.copytree(case.folder, folder / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | changes))
    return str(copy)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OPT, norm after the addition", "norms the stream after each addition"),
        ("OPT, narrow tables", "another width"),
        ("Bloom, residual after the norm", "normed stream"),
    ],
)
def test_kinds_whose_stream_does_not_add_up_are_refused(tmp_path, name, said):
    with pytest.raises(iv.ModelError, match=said):
        iv.open_model(str(tiny.write(tiny.REFUSED[name](), tmp_path)))


def test_bloom_in_slices_is_refused(family, tmp_path):
    with pytest.raises(iv.ModelError, match="slow_but_exact"):
        iv.open_model(with_config(family("Bloom"), tmp_path, slow_but_exact=True, pretraining_tp=2))
