"""LoRA adapters: merged into their base as peft merges them, or refused by name."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import intravisto_core as iv
from intravisto_core.models import adapter_merging, adapters
from intravisto_core.models.placement import Placement
from intravisto_core.models.source import on_hub
from tests.loading.gguf_writing import of_folder

IDS = (1, 5, 9, 33, 12)
LLAMA = ["q_proj", "down_proj"]


def write_adapter(base: Path, folder: Path, seed: int = 3, **options: Any) -> Path:
    """An adapter of a folder's model with random numbers, as peft saves it."""
    torch.manual_seed(seed)
    options = {"r": 4, "lora_alpha": 6, "target_modules": LLAMA, "task_type": "CAUSAL_LM"} | options
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(**options))
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = torch.randn_like(parameter) * 0.3
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    return folder


def by_peft(base: Path, folder: Path) -> Any:
    """peft's own merged model."""
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    return peft.PeftModel.from_pretrained(model, str(folder)).merge_and_unload().eval()


def numbers(source: object, **options: Any) -> tuple[dict[str, torch.Tensor], np.ndarray, iv.ModelCard, str]:
    engine = iv.open_model(source, **options)
    trace = engine.trace(IDS)
    found = (dict(engine.kept_traces.model.network.state_dict()), trace.logits(), engine.model, trace.fingerprint)
    engine.close()
    return found


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tiny_llama, tmp_path_factory.mktemp("adapters") / "tuned")


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.down_proj": 9}}),
        ("llama", {"target_modules": r".*\.(o|v)_proj", "layers_to_transform": None}),
        ("llama", {"modules_to_save": ["lm_head"]}),
        ("llama", {"use_dora": True}),
        ("llama", {"target_modules": ["embed_tokens", "lm_head"]}),
        ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    ],
)
def test_the_merged_model_is_pefts_own(family, options, tiny_folder, tmp_path):
    base = tiny_folder(family)
    folder = write_adapter(base, tmp_path / "tuned", **options)
    weights, logits, card, _ = numbers(folder)
    expected = by_peft(base, folder)
    for name, value in expected.state_dict().items():
        assert torch.equal(weights[name], value), name
    with torch.no_grad():
        plain = expected(torch.tensor([IDS])).logits[0, -1].numpy()
    np.testing.assert_allclose(logits, plain, atol=2e-5)
    assert card.name == f"{base.name} + tuned"
    assert card.notes[0].startswith("LoRA adapter tuned (")
    assert f"merged into {base.name} at scale 1: rank" in card.notes[0]


@pytest.mark.parametrize("scale", [1.0, 0.5, -2.0])
def test_base_plus_scale_times_the_product_by_hand(scale, adapter, tiny_llama):
    weights, _, card, _ = numbers(adapter, adapter_scale=scale)
    plain = AutoModelForCausalLM.from_pretrained(tiny_llama).state_dict()
    parts = load_file(adapter / "adapter_model.safetensors")
    changed = {n.removeprefix("base_model.model.").removesuffix(".lora_A.weight") for n in parts if "lora_A" in n}
    for name, value in plain.items():
        module = name.removesuffix(".weight")
        if module in changed:
            a, b = (parts[f"base_model.model.{module}.lora_{part}.weight"] for part in "AB")
            value = value + scale * 6 / 4 * (b.double() @ a.double()).float()
        np.testing.assert_allclose(weights[name], value, atol=1e-6, err_msg=name)
    assert len(changed) == 6
    assert card.name.endswith("+ tuned" if scale == 1 else f"+ {scale:g} × tuned")


def test_scale_0_is_the_base_bit_for_bit(adapter, tiny_llama):
    weights, logits, _, fingerprint = numbers(adapter, adapter_scale=0)
    plain, expected, _, other = numbers(tiny_llama)
    assert all(torch.equal(weights[name], value) for name, value in plain.items())
    assert (logits == expected).all()
    assert fingerprint != other


def test_base_adapter_and_scale_are_in_the_fingerprint(adapter, tiny_llama, tiny_folder, tmp_path):
    other = write_adapter(tiny_llama, tmp_path / "tuned", seed=4)
    stronger = Path(shutil.copytree(adapter, tmp_path / "stronger"))
    _set(lora_alpha=7)(stronger)
    found = {numbers(source, **options)[3] for source, options in [
        (adapter, {}),
        (other, {}),
        (stronger, {}),
        (adapter, {"adapter_scale": 0.5}),
        (adapter, {"base": str(tiny_folder("llama", seed=1))}),
        (tiny_llama, {}),
    ]}  # fmt: skip
    assert len(found) == 6
    assert numbers(adapter, base=str(tiny_llama))[3] == numbers(adapter)[3]


def test_an_adapter_beside_whole_weights(adapter, tiny_llama, tiny_folder, tmp_path):
    """Never the base as if it were the tuned model, with peft or without."""
    both = Path(shutil.copytree(tiny_folder("llama", seed=1), tmp_path / "both"))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, both)
    weights, _, card, _ = numbers(both)
    assert torch.equal(
        weights["model.layers.1.self_attn.q_proj.weight"],
        by_peft(tiny_llama, adapter).state_dict()["model.layers.1.self_attn.q_proj.weight"],
    )
    assert card.name == f"{tiny_llama.name} + both"
    weights, _, card, _ = numbers(both, base=str(both))
    expected = by_peft(tiny_folder("llama", seed=1), adapter).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert card.name == "both + both"
    weights, *_ = numbers(both, base=str(both), adapter_scale=0)
    plain = load_file(both / "model.safetensors")
    assert set(weights) == set(plain)
    assert all(torch.equal(weights[name], value) for name, value in plain.items())
    (both / "adapter_model.safetensors").unlink()
    with pytest.raises(iv.ModelError, match=r"take adapter_config.json away, if the weights"):
        iv.open_model(both)


def test_a_gguf_file_as_base(adapter, tiny_llama, tmp_path):
    file = of_folder(tiny_llama, tmp_path / "base.gguf")
    weights, _, card, _ = numbers(adapter, base=str(file))
    expected = by_peft(tiny_llama, adapter).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert card.name == "base + tuned"
    assert [f.split(" ")[0] for f in card.notes[:2]] == ["LoRA", "read"]


def test_the_adapters_own_tokenizer(adapter, tiny_llama, tmp_path):
    folder = Path(shutil.copytree(adapter, tmp_path / "own"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama / name, folder)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    engine = iv.open_model(folder)
    assert engine.model.chat
    engine.close()


def test_memory_with_an_adapter(adapter, tiny_llama):
    found, base = iv.estimate_memory(adapter), iv.estimate_memory(tiny_llama)
    assert found.weights == base.weights
    assert found.loading > base.loading


def test_adapters_of_the_hub(hub, adapter, tiny_llama, tmp_path):
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    _configure(folder, base_model_name_or_path="tiny", revision="main")
    hub.repositories["owner/adapter"] = folder
    assert iv.estimate_memory("owner/adapter").weights == iv.estimate_memory(tiny_llama).weights
    assert not hub.asked("/resolve/0123456789abcdef0123456789abcdef01234567/adapter_model.safetensors")
    weights, _, card, _ = numbers("owner/adapter")
    expected = by_peft(tiny_llama, adapter).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert card.name == "tiny + owner/adapter"
    assert on_hub(iv.ModelSpec(str(folder)))
    assert not on_hub(iv.ModelSpec(str(adapter)))
    hub.repositories["owner/pickled"] = pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(folder / "adapter_config.json", pickled)
    with pytest.raises(iv.ModelError, match=r"owner/pickled: expected an adapter in safetensors"):
        iv.open_model("owner/pickled")


def test_without_peft(adapter, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(iv.MissingProgramError, match=r"LoRA adapter.*pip install 'intravisto\[adapters\]'"):
        iv.open_model(adapter)


def _configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))


def _set(**changes: object) -> Callable[[Path], None]:
    return lambda folder: _configure(folder, **changes)


def _text(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "adapter_config.json").write_text(text)


def _rewrite(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "adapter_model.safetensors")
        change(tensors)
        save_file(tensors, folder / "adapter_model.safetensors")

    return damage


def _pickled(folder: Path) -> None:
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def _link(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "adapter_model.safetensors").symlink_to(folder.parent / "outside.safetensors")


def _link_config(folder: Path) -> None:
    (folder / "adapter_config.json").rename(folder.parent / "outside.json")
    (folder / "adapter_config.json").symlink_to(folder.parent / "outside.json")


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (_text("{"), "JSON with a peft_type"),
    (_text("[" * 100_000), "JSON with a peft_type"),
    (_set(peft_type="IA3"), "of the kind 'IA3'"),
    (_set(peft_type="<b>\n" * 1000), r"of the kind '<b>\\n"),
    (_set(peft_type=3), "JSON with a peft_type"),
    (_set(task_type="SEQ_CLS"), "its task_type is 'SEQ_CLS'"),
    (_set(init_lora_weights="pissa"), "its init_lora_weights is 'pissa'"),
    (_set(layer_replication=[[0, 2]]), "its layer_replication"),
    (_set(trainable_token_indices=[1]), "its trainable_token_indices"),
    (_set(some_new_thing=True), "its some_new_thing is 'True'"),
    (_set(rank_pattern={"(a+)+b": 3}), "its rank_pattern"),
    (_set(lora_alpha="much"), "could not merge it|not merged here"),
    (_set(base_model_name_or_path=None), "does not. Give it: .*base="),
    (_set(base_model_name_or_path="/home/trainer/llama"), "'/home/trainer/llama' is not on this machine"),
    (_pickled, "only adapter_model.bin, a pickle file"),
    (_link, "adapter_model.safetensors is a link that leads out of it"),
    (_link_config, "adapter_config.json is a link that leads out of it"),
    (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"\x08"), "it is damaged"),
    (_rewrite(dict.clear), "lora_A and …lora_B; it has none"),
    (_rewrite(lambda t: t.pop(FIRST.replace("_A", "_B"))), "lora_B.* is missing"),
    (_rewrite(lambda t: t.update({"odd.weight": torch.ones(2)})), "odd.weight has no place in the base"),
    (
        _rewrite(lambda t: t.update({FIRST.replace("q_proj", "x_proj"): t.pop(FIRST)})),
        "has no model.layers.0.self",
    ),
    (_rewrite(lambda t: t.update({FIRST: torch.ones(4, 31)})), "could not merge it"),
]


@pytest.mark.parametrize(("damage", "said"), BROKEN, ids=[said[:24] for _, said in BROKEN])
def test_broken_adapters(damage, said, adapter, tmp_path):
    folder = Path(shutil.copytree(adapter, tmp_path / "broken"))
    damage(folder)
    with pytest.raises(iv.ModelError, match=said) as caught:
        iv.open_model(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900


def test_a_base_that_is_not_in_memory_as_plain_weights(adapter, tmp_path):
    """Weights that left memory, as a base that needs more room than there is has them."""
    found = adapters.read_adapter(adapter, iv.ModelSpec(str(adapter)))
    with tempfile.TemporaryDirectory() as made:
        scratch = SimpleNamespace(name=made)
        with pytest.raises(iv.ModelError, match=r"tuned: expected a base model in plain weights on one device"):
            adapter_merging.merge(torch.nn.Linear(2, 2), found, Placement(torch.device("cpu"), {}, scratch))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_words_of_an_adapter_are_its_own(adapter, tiny_llama, tmp_path, name):
    folder = Path(shutil.copytree(adapter, tmp_path / "linked"))
    shutil.copy(tiny_llama / "tokenizer.json", folder)
    (tmp_path / "outside").write_text("{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(iv.ModelError, match=f"{name} is a link that leads out of it"):
        iv.open_model(folder)


def test_what_does_not_go_together(adapter, tiny_llama, tiny_gpt2, tmp_path):
    with pytest.raises(iv.ModelError, match=r"gpt2.*has no model.layers"):
        iv.open_model(adapter, base=str(tiny_gpt2))
    with pytest.raises(iv.ModelError, match="an adapter too"):
        iv.open_model(adapter, base=str(adapter))
    with pytest.raises(iv.ModelError, match=r"plain weights in memory.*got quantisation 'nf4'"):
        iv.open_model(adapter, quantisation="nf4")
    with pytest.raises(iv.ModelError, match=r"plain weights in memory.*got device_map 'offload'"):
        iv.open_model(adapter, device_map="offload")
    with pytest.raises(iv.RequestError, match=r"adapter_scale: expected 1.0 for .*, which is no LoRA adapter; got 0.5"):
        iv.open_model(tiny_llama, adapter_scale=0.5)
    with pytest.raises(iv.RequestError, match="base: expected None for demo, which is no LoRA adapter"):
        iv.open_model("demo", base="other")
    for scale in (float("nan"), "1", True):
        with pytest.raises(iv.RequestError, match="adapter_scale: expected a finite number"):
            iv.ModelSpec("x", adapter_scale=scale)
    whole = write_adapter(tiny_llama, tmp_path / "whole", modules_to_save=["lm_head"])
    with pytest.raises(iv.ModelError, match=r"adapter_scale 1 or 0 .*modules_to_save is \"\['lm_head'\]\".*got 0.5"):
        iv.open_model(whole, adapter_scale=0.5)
