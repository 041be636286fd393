"""Folders that are broken in one way each: a message of its own, before anything else is tried."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

import intravisto_core as iv
from tests import tiny


def rewrite(folder: Path, change: Callable[[dict], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def config_of_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1, 2]")


def unknown_family(folder: Path) -> None:
    configure(folder, model_type="nobody_knows", auto_map=None)


def no_weights(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    no_weights(folder)


def truncated_shard(folder: Path) -> None:
    shard = next(folder.glob("model-00002*"))
    shard.write_bytes(shard.read_bytes()[:-100])


def missing_shard(folder: Path) -> None:
    next(folder.glob("model-00002*")).unlink()


def missing_weight(folder: Path) -> None:
    rewrite(folder, lambda weights: weights.pop("model.layers.1.mlp.down_proj.weight"))


def other_shape(folder: Path) -> None:
    configure(folder, intermediate_size=40)


def not_a_number(folder: Path) -> None:
    rewrite(folder, lambda weights: weights["model.layers.1.mlp.down_proj.weight"].fill_(torch.nan))


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def larger_tokenizer(folder: Path) -> None:
    configure(folder, vocab_size=90)

    def cut(weights: dict) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            weights[name] = weights[name][:90].clone()

    rewrite(folder, cut)


def link_out(folder: Path) -> None:
    outside = folder.parent / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)


def half_precision_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")


def consolidated(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def shards_without_an_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()


SINGLE, SHARDED = "tiny_llama", "sharded"
BROKEN = [
    (SINGLE, no_config, "config.json; found none"),
    (SINGLE, config_of_a_list, "JSON with a model_type"),
    (SINGLE, unknown_family, "nobody_knows"),
    (SINGLE, no_weights, r"weights \(\*.safetensors\); found none"),
    (SINGLE, pickled, "pytorch_model.bin, a pickle file"),
    (SHARDED, truncated_shard, "model-00002.*damaged"),
    (SHARDED, missing_shard, "model-00002.*missing"),
    (SINGLE, missing_weight, r"model.layers.1.mlp.down_proj.weight is missing \(1 in all\)"),
    (SINGLE, other_shape, r"_proj.weight is \(.*\) and should be \(.*\) \(9 such in all\)"),
    (SINGLE, not_a_number, "finite numbers"),
    (SINGLE, no_tokenizer, "tokenizer files"),
    (SINGLE, larger_tokenizer, "at most 90 tokens"),
    (SINGLE, link_out, "link that leads out of it"),
    (SINGLE, half_precision_alone, r"found model.fp16.safetensors. If it is the whole model, rename it"),
    (SINGLE, consolidated, r"found consolidated.safetensors. It holds the weights under the names of its makers' own"),
    (SHARDED, shards_without_an_index, r"found model-00001-of-\d+.safetensors. Download model.safetensors.index.json"),
]


@pytest.mark.parametrize(("kind", "damage", "said"), BROKEN, ids=[damage.__name__ for _, damage, _ in BROKEN])
def test_a_broken_folder(request, tmp_path, kind, damage, said):
    folder = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "broken"))
    damage(folder)
    with pytest.raises(iv.IntravistoError, match=said) as caught:
        iv.open_model(folder)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, iv.TraceError) or damage is not_a_number


@pytest.mark.parametrize("source", ["no/such/thing/here", "./nowhere", "a b", "/nowhere/at all", "owner/name:"])
def test_a_source_that_names_nothing(source):
    with pytest.raises(iv.ModelError, match=r'model: expected "demo", the path of a model folder.*Check the path or'):
        iv.open_model(source)


def test_a_tokenizer_that_is_tokenizer_model_alone(tmp_path):
    """As OpenLLaMA's: read through sentencepiece, with the very tokens that it gives."""
    folder = tmp_path / "pieces"
    text = tmp_path / "text"
    text.write_text("the capital of Italy is Rome and that of France is Paris\n" * 30)
    options = {"vocab_size": 290, "model_type": "bpe", "byte_fallback": True, "hard_vocab_limit": False}
    options |= {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    SentencePieceTrainer.train(input=str(text), model_prefix=str(tmp_path / "tokenizer"), minloglevel=2, **options)
    pieces = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    config = tiny.CONFIGS["Llama"]()
    config.vocab_size = pieces.vocab_size()
    tiny.write(config, folder)
    (folder / "tokenizer.json").unlink()
    shutil.copy(tmp_path / "tokenizer.model", folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
        )
    )
    engine = iv.open_model(folder)
    for prompt in ("the capital of Italy", "Rome  is ä\n"):
        assert [t.id for t in engine.tokenize(prompt)] == [pieces.bos_id(), *pieces.encode(prompt)]
    engine.close()


def test_a_tokenizer_that_brings_its_own_code(tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "own"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | own))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(iv.ModelError, match=r"tokenizer that transformers' own code runs.* Choose"):
        iv.open_model(folder)
    assert not (tmp_path / "ran").exists()


def test_sharded_and_single_files_are_the_same_model(sharded, case):
    engine = iv.open_model(sharded)
    kept = case("llama").trace
    assert (engine.trace(kept.request.prompt).logits() == kept.logits(kept.prompt_length - 1)).all()
    engine.close()


def test_links_into_the_hubs_own_cache_are_followed(tiny_llama, tmp_path):
    """A snapshot in the Hub's cache is a folder of links to its blobs."""
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for i, file in enumerate(tiny_llama.iterdir()):
        shutil.copy(file, blobs / f"{i}")
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / f"{i}")
    iv.open_model(snapshot).close()


def test_other_files_beside_the_model_are_not_read(tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "adapter.safetensors").write_bytes(b"not safetensors at all")
    (folder / "modeling_llama.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    configure(folder, auto_map={"AutoModelForCausalLM": "modeling_llama.Own"})
    iv.open_model(folder).close()
    assert not (tmp_path / "ran").exists()


LINKED = [
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model", "additional_chat_templates/rag.jinja"),
]


@pytest.mark.parametrize("name", LINKED)
def test_no_file_is_read_through_a_link_that_leads_out(tiny_llama, tmp_path, name):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    file, outside = folder / name, tmp_path / "outside"
    file.parent.mkdir(exist_ok=True)
    if file.exists():
        file.rename(outside)
    else:
        outside.write_text("{}")
    file.symlink_to(outside)
    with pytest.raises(iv.ModelError, match=f"{file.name} is a link that leads out of it"):
        iv.open_model(folder)


@pytest.mark.parametrize("name", [n for n in LINKED if "/" not in n and n != "config.json"])
def test_a_pipe_is_not_read(tiny_llama, tmp_path, name):
    """Whoever reads one waits for ever."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(iv.ModelError, match=f"expected ordinary files; {name} is a pipe or a device"):
        iv.open_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_the_place_of_config_or_weights_is_none(tiny_llama, tmp_path, name):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(iv.ModelError, match=r"found none|ordinary files|missing"):
        iv.open_model(folder)


def test_no_folder_of_templates_is_read_through_a_link(tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (tmp_path / "outside").mkdir()
    (folder / "additional_chat_templates").symlink_to(tmp_path / "outside")
    with pytest.raises(iv.ModelError, match="additional_chat_templates is a link"):
        iv.open_model(folder)
