"""`intravisto inspect --meta`: a model from its configuration alone, here and on the Hub."""

from __future__ import annotations

import json

import pytest
import transformers

from intravisto_core.cli import main
from intravisto_core.models.skeleton import open_skeleton
from tests import tiny

SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
CONFIGS = {
    "Llama": lambda: tiny.CONFIGS["Llama"](),
    "Mixtral": lambda: tiny.CONFIGS["Mixtral"](),
    "T5": lambda: transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=3, num_heads=2, vocab_size=50),
    "ViT": lambda: transformers.ViTConfig(**SMALL, image_size=16, patch_size=8),
    "YOLOS": lambda: transformers.YolosConfig(**SMALL, image_size=[16, 16], patch_size=8, num_detection_tokens=3),
    "ResNet": lambda: transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[2, 2]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_models_of_many_kinds_are_made_and_run_without_a_number(tmp_path, name):
    CONFIGS[name]().save_pretrained(tmp_path)
    inspector = open_skeleton(str(tmp_path))
    assert inspector.run.failed_at is None, inspector.run.error
    assert {tensor.device for node in inspector.tree().nodes for tensor in node.tensors} == {"meta"}
    assert len(inspector.flow.links) > 20


def test_of_a_model_on_the_hub_the_configuration_alone_is_fetched(hub, tmp_path, capfd):
    there = tmp_path / "repository"
    tiny.write(tiny.CONFIGS["Llama"](), there)
    hub.repositories["owner/tiny"] = there
    page = tmp_path / "arch.html"
    assert main(["inspect", "owner/tiny", "--meta", "--out", str(page)]) == 0
    said = capfd.readouterr().out
    assert said.startswith("tiny: LlamaForCausalLM, ")
    assert '"timeless": true' in page.read_text("utf-8")
    assert not hub.asked("model.safetensors")
    assert hub.asked("config.json")
    (there / "config.json").unlink()
    hub.repositories["owner/bare"] = there
    assert main(["inspect", "owner/bare", "--meta"]) == 2
    assert "its top folder: expected a config.json; there is none" in capfd.readouterr().err


def test_a_run_that_fails_is_drawn_as_far_as_it_came(tmp_path, capsys):
    config = CONFIGS["Llama"]().to_dict() | {"num_key_value_heads": 3, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert main(["inspect", str(tmp_path), "--meta"]) == 0
    assert "note: The run failed in layers.0.self_attn: " in capsys.readouterr().out
