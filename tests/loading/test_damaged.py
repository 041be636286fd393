"""Files of a model that are damaged in one way each: a ModelError that names what is wrong, never another exception."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core.models.files.guard import refusing_damage
from tests.loading.test_folders import configure

DEEP = "[" * 100_000


@pytest.fixture
def folder(tiny_llama, tmp_path):
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


FIELDS = [
    ({"vocab_size": 97.0}, "vocab_size"),
    ({"vocab_size": "97"}, "vocab_size"),
    ({"vocab_size": -97}, "vocab_size"),
    ({"hidden_size": "32"}, "hidden_size"),
    ({"hidden_size": 0}, "hidden_size"),
    ({"hidden_size": None}, "hidden_size"),
    ({"hidden_size": [32]}, "hidden_size"),
    ({"hidden_size": 10**12}, "hidden_size"),
    ({"intermediate_size": 10**12}, "intermediate_size"),
    ({"vocab_size": 10**12}, "vocab_size"),
    ({"num_hidden_layers": -2}, "num_hidden_layers"),
    ({"num_hidden_layers": True}, "num_hidden_layers"),
    ({"num_hidden_layers": 100_000}, "num_hidden_layers.*at most 3"),
    ({"num_hidden_layers": 10**30}, "num_hidden_layers"),
    ({"num_attention_heads": 5}, "attention heads"),
    ({"num_attention_heads": "four"}, "num_attention_heads"),
    ({"num_attention_heads": 0}, "num_attention_heads"),
    ({"num_key_value_heads": 3}, "num_key_value_heads"),
    ({"num_key_value_heads": -2}, "num_key_value_heads"),
    ({"head_dim": "8"}, "head_dim"),
    ({"head_dim": -8}, "head_dim"),
    ({"head_dim": 7}, "RoPE"),
    ({"max_position_embeddings": None}, "max_position_embeddings"),
    ({"max_position_embeddings": "long"}, "max_position_embeddings"),
    ({"max_position_embeddings": -1}, "max_position_embeddings"),
    ({"rms_norm_eps": "small"}, "rms_norm_eps"),
    ({"rms_norm_eps": None}, "rms_norm_eps"),
    ({"rms_norm_eps": -1.0}, "rms_norm_eps"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
    ({"attention_dropout": float("inf")}, "attention_dropout.*a finite number"),
    ({"hidden_act": "no_such"}, "no_such"),
    ({"hidden_act": 3}, "hidden_act"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ({"attention_bias": "no"}, "attention_bias"),
    ({"rope_parameters": 3}, "rope"),
    ({"rope_parameters": []}, "rope"),
    ({"rope_parameters": {"rope_type": "no_such", "rope_theta": 1e4}}, "no_such"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": "x"}}, "rope_theta"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": -1.0}}, "rope_theta"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 0}}, "rope_theta"),
    ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, "factor"),
    ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": "two"}}, "factor"),
    ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 0}}, "factor"),
    ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0]}}, "."),
    ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}}, "."),
    ({"rope_scaling": {"type": ["a"]}}, "."),
    ({"rope_scaling": "dynamic"}, "."),
    ({"dtype": "float7"}, "dtype"),
    ({"dtype": 32}, "dtype"),
    ({"dtype": "load"}, "dtype"),
    ({"dtype": None, "torch_dtype": ["float32"]}, "dtype"),
    ({"eos_token_id": "</s>"}, "eos_token_id"),
    ({"eos_token_id": 2.5}, "eos_token_id"),
    ({"bos_token_id": "one"}, "bos_token_id"),
    ({"pad_token_id": {"a": 1}}, "pad_token_id"),
    ({"quantization_config": 3}, "quantization_config"),
    ({"quantization_config": [1]}, "quantization_config"),
    ({"quantization_config": {"quant_method": ["x"]}}, "packed by"),
    ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": "x"}}, "."),
    ({"architectures": 3}, "architectures"),
    ({"architectures": [3]}, "architectures"),
    ({"layer_types": 5}, "."),
    ({"layer_types": ["full_attention"]}, "."),
    ({"text_config": 3}, "."),
    ({"num_hidden_layers": None}, "num_hidden_layers"),
    ({"model_type": 3}, "model_type"),
    ({"model_type": ["llama"]}, "model_type"),
    ({"model_type": None}, "model_type"),
    ({"model_type": "llama\n\x1b[31m"}, "model_type"),
    ({"model_type": "a" * 100_000}, "model_type"),
    ({"model_type": "gemma3"}, "."),
    ({"auto_map": 3, "model_type": "own"}, "own"),
    ({"transformers_weights": "other.safetensors"}, "transformers_weights"),
    ({"initializer_range": 5.0}, "initializer_range"),
    ({"id2label": 3}, "."),
    ({"pretraining_tp": "x"}, "pretraining_tp"),
]


@pytest.mark.parametrize(("changes", "said"), FIELDS, ids=[json.dumps(c)[:60] for c, _ in FIELDS])
def test_fields_of_another_kind_are_named(folder, changes, said):
    configure(folder, **changes)
    with pytest.raises(iv.ModelError, match=said) as caught:
        iv.open_model(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900
    with suppress(iv.IntravistoError):
        iv.estimate_memory(folder)


HARMLESS = [
    {"rms_norm_eps": 1},
    {"return_dict": False},
    {"output_attentions": True, "output_hidden_states": True},
    {"use_cache": False},
    {"attn_implementation": "flash_attention_2"},
    {"_attn_implementation": "flash_attention_2"},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 10000}},
    {"torch_dtype": "torch.float32", "dtype": None},
    {"no_such_field": {"deep": [1, 2]}},
    {"max_position_embeddings": 10**9},
]


@pytest.mark.parametrize("changes", HARMLESS, ids=[json.dumps(c)[:60] for c in HARMLESS])
def test_what_is_clear_in_meaning_opens(folder, changes):
    configure(folder, **changes)
    engine = iv.open_model(folder)
    assert len(engine.trace("ab", max_new_tokens=1).tokens) == 4
    engine.close()


def write(folder: Path, name: str, raw: str | bytes) -> None:
    (folder / name).write_bytes(raw if isinstance(raw, bytes) else raw.encode())


def header(folder: Path, raw: str | bytes) -> None:
    raw = raw if isinstance(raw, bytes) else raw.encode()
    write(folder, "model.safetensors", struct.pack("<Q", len(raw)) + raw)


def index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    write(folder, "model.safetensors.index.json", json.dumps({"weight_map": weight_map}))


def tokenizer(folder: Path, change: Callable[[dict], None]) -> None:
    described = json.loads((folder / "tokenizer.json").read_text())
    change(described)
    write(folder, "tokenizer.json", json.dumps(described))


def entry(shape: object, offsets: object, dtype: object = "F32") -> str:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "config deep": (lambda f: write(f, "config.json", DEEP), "config.json"),
    "config deep inside": (lambda f: write(f, "config.json", '{"model_type": "llama", "a": ' + DEEP), "config.json"),
    "config empty": (lambda f: write(f, "config.json", ""), "config.json"),
    "config no text": (lambda f: write(f, "config.json", b"\xff\xfe\x00"), "config.json"),
    "config a folder": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()), "config.json"),
    "header deep": (lambda f: header(f, DEEP), "model.safetensors.*damaged"),
    "header a list": (lambda f: header(f, "[]"), "model.safetensors.*damaged"),
    "header a number inside": (lambda f: header(f, '{"a": 1}'), "model.safetensors.*damaged"),
    "header shape a text": (lambda f: header(f, entry("ab", [0, 0])), "model.safetensors"),
    "header shape negative": (lambda f: header(f, entry([-1, 2], [0, 0])), "model.safetensors"),
    "header offsets a text": (lambda f: header(f, entry([0], "ab")), "model.safetensors"),
    "header dtype a number": (lambda f: header(f, entry([0], [0, 0], 3)), "model.safetensors"),
    "header huge shape": (lambda f: header(f, entry([10**9, 10**9], [0, 0])), "model.safetensors"),
    "weights empty": (lambda f: write(f, "model.safetensors", b""), "model.safetensors.*damaged"),
    "index deep": (lambda f: (index(f, {}), write(f, "model.safetensors.index.json", DEEP)), "index.json"),
    "index of long names": (lambda f: index(f, {"a": "x" * 5000}), "missing"),
    "index of numbers": (lambda f: index(f, {"a": 3}), "index.json"),
    "index of a list": (lambda f: index(f, ["a"]), "index.json"),
    "index with a null byte": (lambda f: index(f, {"a": "a\x00b"}), "missing"),
    "index that leads out": (lambda f: index(f, {"a": "../../x.safetensors"}), "missing|leads out"),
    "index of nothing": (lambda f: index(f, {}), "none"),
    "index of a folder": (lambda f: index(f, {"a": "."}), "missing"),
    "generation deep": (lambda f: write(f, "generation_config.json", DEEP), "generation_config.json"),
    "tokenizer deep": (lambda f: write(f, "tokenizer.json", DEEP), "tokenizer"),
    "tokenizer empty": (lambda f: write(f, "tokenizer.json", "{}"), "tokenizer"),
    "tokenizer a list": (lambda f: write(f, "tokenizer.json", "[1]"), "tokenizer"),
    "tokenizer config deep": (lambda f: write(f, "tokenizer_config.json", DEEP), "tokenizer"),
    "tokenizer config a list": (lambda f: write(f, "tokenizer_config.json", "[]"), "tokenizer"),
    "special tokens deep": (lambda f: write(f, "special_tokens_map.json", DEEP), "tokenizer"),
    "unknown model": (lambda f: tokenizer(f, lambda t: t["model"].update(type="Own")), "tokenizer"),
    "unknown step": (lambda f: tokenizer(f, lambda t: t.update(pre_tokenizer={"type": "Own"})), "tokenizer"),
    "a regex that is none": (
        lambda f: tokenizer(
            f,
            lambda t: t.update(
                pre_tokenizer={"type": "Split", "pattern": {"Regex": "(((a"}, "behavior": "Isolated", "invert": False}
            ),
        ),
        "tokenizer",
    ),
    "a vocabulary of texts": (lambda f: tokenizer(f, lambda t: t["model"].update(vocab={"a": "b"})), "tokenizer"),
    "merges of nothing": (lambda f: tokenizer(f, lambda t: t["model"].update(merges=[["q", "zz"]])), "tokenizer"),
    "added tokens a number": (lambda f: tokenizer(f, lambda t: t.update(added_tokens=3)), "tokenizer"),
    "an id that is too large": (lambda f: tokenizer(f, lambda t: t["model"]["vocab"].update(big=2**31)), "."),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_named(folder, name):
    damage, said = DAMAGES[name]
    damage(folder)
    with pytest.raises(iv.ModelError, match=said) as caught:
        iv.open_model(folder)
    assert len(str(caught.value)) < 900
    with suppress(iv.IntravistoError):
        iv.estimate_memory(folder)


class PanicException(BaseException):
    """As libraries in Rust raise it."""


def test_a_library_that_panics_and_errors_that_are_not_the_files():
    with pytest.raises(iv.ModelError, match="PanicException: index out of bounds"), refusing_damage("a"):
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), refusing_damage("a"):
        raise KeyboardInterrupt
    with pytest.raises(MemoryError), refusing_damage("a"):
        raise MemoryError


def test_what_ends_an_opening_is_not_taken_for_damage(tiny_llama):
    def stop(done, total, text):
        raise ZeroDivisionError("enough")

    with pytest.raises(ZeroDivisionError, match="enough"):
        iv.open_model(tiny_llama, report=stop)
