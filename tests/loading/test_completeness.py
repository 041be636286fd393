"""Weights that the model of a config has no place for are refused by name; what is left out on purpose is not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.experiments import tiny
from intravisto_core.models.files.completeness import check_complete
from tests.loading.test_folders import configure, rewrite

PROMPT = (5, 6, 7, 8)


@pytest.fixture
def folder(tiny_llama, tmp_path):
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def add(folder: Path, **tensors: torch.Tensor) -> None:
    rewrite(folder, lambda weights: weights.update({name.replace("__", "."): t for name, t in tensors.items()}))


def biases(folder: Path) -> None:
    add(folder, **{f"model__layers__{i}__self_attn__q_proj__bias": torch.ones(32) for i in range(3)})


def fewer_layers(folder: Path) -> None:
    configure(folder, num_hidden_layers=2)


def score(folder: Path) -> None:
    configure(folder, architectures=["LlamaForSequenceClassification"])
    add(folder, score__weight=torch.ones(2, 32))


def classifier(folder: Path) -> None:
    add(folder, classifier__weight=torch.ones(2, 32), classifier__bias=torch.ones(2))


def qa_outputs(folder: Path) -> None:
    configure(folder, architectures=["LlamaForQuestionAnswering"])
    add(folder, qa_outputs__weight=torch.ones(2, 32))


def scales(folder: Path) -> None:
    """Of a packing that the config does not name."""
    add(folder, model__layers__0__mlp__down_proj__weight_scale=torch.ones(32))


def head_bias(folder: Path) -> None:
    add(folder, lm_head__bias=torch.ones(97))


def bias_named_as_a_mask(folder: Path) -> None:
    add(folder, model__layers__0__attn__bias=torch.ones(32))


def layer_beyond_the_predicting_ones(folder: Path) -> None:
    configure(folder, num_hidden_layers=1, num_nextn_predict_layers=1)


HOMELESS = [
    (biases, r"none for model.layers.0.self_attn.q_proj.bias \(3 such in all\)"),
    (fewer_layers, r"none for model.layers.2.\S+ \(9 such in all\).*number of layers"),
    (score, r"none for score.weight.*LlamaForSequenceClassification as its architecture, which is no causal"),
    (classifier, r"none for classifier.bias \(2 such in all\)"),
    (qa_outputs, r"none for qa_outputs.weight.*LlamaForQuestionAnswering"),
    (scales, "down_proj.weight_scale"),
    (head_bias, "lm_head.bias"),
    (bias_named_as_a_mask, "attn.bias"),
    (layer_beyond_the_predicting_ones, "none for model.layers.2"),
]


@pytest.mark.parametrize(("damage", "said"), HOMELESS, ids=[damage.__name__ for damage, _ in HOMELESS])
def test_weights_without_a_place_are_refused(folder, damage, said):
    damage(folder)
    with pytest.raises(iv.ModelError, match=said):
        iv.open_model(folder)


HARMLESS = {
    "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    "model.rotary_emb.inv_freq": torch.ones(4),
    "model.layers.1.self_attn.rotary_emb.cos_cached": torch.ones(64, 8),
    "model.layers.1.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool),
    "model.layers.1.attn.masked_bias": torch.tensor(-1e4),
    "model.layers.1.attn.embed_positions": torch.ones(64, 8),
    "position_ids": torch.arange(64)[None],
    "vision_tower.blocks.0.mlp.weight": torch.ones(4, 4),
    "multi_modal_projector.linear.weight": torch.ones(4, 4),
    "mtp.layers.0.eh_proj.weight": torch.ones(4, 4),
    "model.layers.3.eh_proj.weight": torch.ones(4, 4),
}


def test_errors_that_the_loader_tells_of_are_a_refusal():
    told = {"error_msgs": ["a size that cannot be read"]}
    with pytest.raises(iv.ModelError, match=r"expected weights that can be read; a size that cannot be read\."):
        check_complete(told, None, (), "a folder")


def test_what_is_left_out_on_purpose_is_no_fault(folder, case):
    rewrite(folder, lambda weights: weights.update(HARMLESS))
    configure(folder, num_nextn_predict_layers=1)
    engine = iv.open_model(folder)
    expected = case("llama").engine.trace(PROMPT).logits()
    # two loads may lay their weights out differently, so bits are not promised
    np.testing.assert_allclose(engine.trace(PROMPT).logits(), expected, rtol=0, atol=2e-6)
    engine.close()


def test_masks_that_old_checkpoints_hold_are_no_fault(tmp_path):
    folder = tiny.write(tiny.CONFIGS["GPT-2"](), tmp_path / "gpt2")
    masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 64, 64).tril().bool() for i in range(2)}
    rewrite(folder, lambda weights: weights.update(masks))
    iv.open_model(folder).close()


def test_an_architecture_that_is_no_causal_model_is_said(folder):
    configure(folder, architectures=["LlamaModel"])
    engine = iv.open_model(folder)
    assert engine.model.notes == (
        "config.json names LlamaModel as its architecture, which is no causal language model: it is read as one",
    )
    engine.close()


def test_a_start_token_typed_by_hand_is_noted(case):
    engine = case("llama").engine
    twice = engine.trace("<bos>ab")
    assert [t.shown for t in twice.tokens][:3] == ["<bos>", "<bos>", "a"]
    assert "begins with the start token <bos> twice: models are trained with one" in twice.notes
    for prompt, options in (("ab", {}), ("<bos>ab", {"add_special_tokens": False})):
        assert not any("twice" in note for note in engine.trace(prompt, **options).notes)


def name_class(folder: Path, name: str) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": name}))


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("GPT2Tokenizer", r"' naïve café — “Größe”' becomes \[… 90, 73.* instead of \[… 3, 3, 90,"),
        ("CodeLlamaTokenizer", r"'Hello, world!' becomes \[3, 44, 73.* instead of \[44, 73,"),
    ],
)
def test_a_tokenizer_of_another_make_is_told(folder, name, becomes):
    name_class(folder, name)
    engine = iv.open_model(folder)
    said = " ".join(engine.model.notes)
    assert f"reads its tokenizer as {name}, which makes other tokens" in said
    assert re.search(becomes, said)
    engine.close()


def test_a_tokenizer_as_its_file_says_has_no_note(case):
    assert case("llama").engine.model.notes == ()


def test_characters_that_vanish_are_told(folder):
    file = folder / "tokenizer.json"
    described = json.loads(file.read_text())
    described["model"]["unk_token"] = None
    file.write_text(json.dumps(described))
    engine = iv.open_model(folder)
    assert len(engine.tokenize("é")) == 1, "BOS alone"
    assert any("vanish from a text, such as 'é'" in note for note in engine.model.notes)
    engine.close()
