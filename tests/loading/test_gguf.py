"""GGUF files: the very model that they were written from, its tokenizer, and what its card says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

import intravisto_core as iv
from intravisto_core.experiments import tiny as families
from intravisto_core.models.gguf import memory
from intravisto_core.models.gguf.header import read_header
from intravisto_core.models.gguf.settings import EPS, llama3_scaling
from intravisto_core.models.gguf.settings import FAMILIES as READ
from intravisto_core.models.gguf.tensor_reader import TensorReader
from tests import tiny
from tests.loading.gguf_writing import of_folder, write

FAMILIES = {
    "llama": families.CONFIGS["Llama"],
    "qwen2": families.CONFIGS["Qwen2"],
    "qwen3": families.CONFIGS["Qwen3"],
    "qwen3moe": families._config(
        "Qwen3Moe", **families._EXPERTS, head_dim=8, moe_intermediate_size=24, norm_topk_prob=True
    ),
    "gpt2": families.CONFIGS["GPT-2"],
    "phi3": families.CONFIGS["Phi-3"],
    "gemma2": families.CONFIGS["Gemma-2"],
    "gemma3": families.CONFIGS["Gemma-3"],
    "starcoder2": families._config("Starcoder2", rope_parameters={"rope_type": "default", "rope_theta": 1e5}),
    "stablelm": families.CONFIGS["StableLM, serial"],
    "nemotron": families.CONFIGS["Nemotron"],
}
# The same weights lie elsewhere in memory, and a product's last digits may depend on where.
LAST_DIGITS = 2e-6
PROMPT_IDS = (1, *range(5, 25))


def test_every_family_that_is_read_is_tested():
    assert set(FAMILIES) == set(READ)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_is_the_model_bit_for_bit(family, tmp_path):
    config = FAMILIES[family]()
    setattr(config, next(name for name in EPS if hasattr(config, name)), 3e-4)
    folder = families.write(config, tmp_path / "folder")
    file = of_folder(folder, tmp_path / "tiny.gguf")
    found, plain = _numbers(file), _numbers(folder)
    # norms are written as w + 1
    moved = {"gemma2": 2e-7, "gemma3": 2e-7, "nemotron": 2e-7}.get(family, 0.0)
    for name, value in plain.weights.items():
        assert torch.allclose(found.weights[name], value, rtol=0, atol=moved), name
    np.testing.assert_allclose(found.logits, plain.logits, rtol=0, atol=max(20 * moved, LAST_DIGITS))
    assert found.settings == plain.settings


OTHERS = {
    "llama without key and value heads of its own": (
        families._config("Llama", num_key_value_heads=4),
        "attention.head_count_kv",
    ),
    "llama with one table": (families._config("Llama", tie_word_embeddings=True), ""),
    "stablelm with biases, parallel": (families._config("StableLm", use_qkv_bias=True, use_parallel_residual=True), ""),
    "linear rope": (
        families._config("Llama", rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}),
        "",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_forms_of_a_family_are_the_model_bit_for_bit(name, tmp_path):
    config, left_out = OTHERS[name]
    folder = families.write(config(), tmp_path / "folder")
    found, plain = _numbers(of_folder(folder, tmp_path / "tiny.gguf", leave_out=(left_out,))), _numbers(folder)
    for weight, value in plain.weights.items():
        assert torch.equal(found.weights[weight], value), weight
    np.testing.assert_allclose(found.logits, plain.logits, rtol=0, atol=LAST_DIGITS)
    assert found.settings == plain.settings


@dataclass
class _Numbers:
    weights: dict[str, torch.Tensor]
    logits: np.ndarray
    settings: dict[str, object]


def _numbers(source: Path) -> _Numbers:
    engine = iv.open_model(source, dtype="float32")
    network = engine.kept_traces.model.network
    config = network.config.to_dict()
    kept = (
        "rope_parameters",
        "sliding_window",
        "layer_types",
        "head_dim",
        "tie_word_embeddings",
        "query_pre_attn_scalar",
    )
    settings = {key: config.get(key) for key in kept}
    found = _Numbers(dict(network.state_dict()), engine.trace(PROMPT_IDS).logits(), settings)
    engine.close()
    return found


@pytest.fixture(scope="module")
def llama_file(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama with a chat template, in GGUF."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return of_folder(tiny_llama, file, changes=lambda w: w.add_chat_template(tiny.CHAT_TEMPLATE))


def test_tokenizer_and_chat_template_are_the_files(llama_file, tiny_llama, tmp_path):
    """Also where another tokenizer lies beside the file."""
    file = Path(shutil.copy(llama_file, tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "OtherTokenizer"}')
    engine = iv.open_model(file)
    expected = AutoTokenizer.from_pretrained(tiny_llama)
    assert [t.id for t in engine.tokenize("ab c!ab d")] == expected("ab c!ab d").input_ids
    assert engine.model.chat
    assert engine.tokenize("ab", chat=True)[0].is_special
    engine.close()


def test_what_a_way_to_split_a_text_means_besides(tiny_llama, tmp_path):
    """Llama 3's takes a word that is a token as it is, and begins with BOS; one that nobody knows is told."""
    words = [*tiny.VOCABULARY[:-1], "\u0120Rome"]
    pieces = iv.open_model(of_folder(tiny_llama, tmp_path / "plain.gguf", tokens=words))
    assert len(pieces.tokenize(" Rome")) == 1 + len(" Rome")
    pieces.close()
    of_llama3 = iv.open_model(of_folder(tiny_llama, tmp_path / "3.gguf", tokens=words, split="llama-bpe", bos=None))
    assert [t.id for t in of_llama3.tokenize(" Rome")] == [tiny.BOS, len(words) - 1]
    assert "way to split" not in " ".join(of_llama3.model.notes)
    of_llama3.close()
    silent = iv.open_model(of_folder(tiny_llama, tmp_path / "silent.gguf", split="new-bpe", bos=None))
    assert not silent.tokenize("ab")[0].is_special
    assert silent.model.notes[1].startswith("its way to split a text (new-bpe) is not known here")
    silent.close()


def test_the_card_counts_tensors_by_quantisation(tiny_llama, tmp_path):
    engine = iv.open_model(of_folder(tiny_llama, tmp_path / "tiny.Q8_0.gguf", kind="Q8_0"))
    plain = iv.open_model(tiny_llama)
    assert engine.model.notes[0].endswith("tensors by quantisation: Q8_0 20, F32 10")
    assert (engine.model.name, engine.model.dtype) == ("tiny.Q8_0", "float32")
    weights, before = engine.kept_traces.model.weights.get("w_o.1"), plain.kept_traces.model.weights.get("w_o.1")
    # a block's largest number is 127 steps
    assert 0 < (weights - before).abs().max() <= before.abs().max() / 127 / 2 * 1.01
    assert engine.trace((1, 5)).fingerprint != plain.trace((1, 5)).fingerprint
    engine.close()
    plain.close()


def test_the_dtype_asked_for(llama_file):
    engine = iv.open_model(llama_file, dtype="bfloat16")
    assert engine.model.dtype == "bfloat16"
    engine.close()


def test_memory_is_estimated_from_the_header(llama_file):
    found = iv.estimate_memory(llama_file)
    n = sum(t.numel for t in read_header(llama_file).tensors)
    assert found.weights == 4 * n
    assert "unpacked to float32" in found.text()
    halved = iv.estimate_memory(iv.ModelSpec(str(llama_file), dtype="bfloat16"))
    assert (halved.weights, "unpacked to bfloat16" in halved.text()) == (2 * n, True)
    assert found.loading > memory.COPIES * 4 * 32 * len(tiny.VOCABULARY)


def test_what_does_not_fit_is_refused_before_anything_is_read(llama_file, monkeypatch):
    monkeypatch.setattr("intravisto_core.models.loading.all_free", lambda: {"cpu": 1000})
    with pytest.raises(iv.MemoryShortError, match=r"needs .* unpacked to float32. It does not fit"):
        iv.open_model(llama_file)


def test_reading_is_told_and_can_be_stopped(llama_file):
    told: list[str] = []

    def stop(done: int, total: int, text: str) -> None:
        told.append(text)
        if "unpacking" in text and done > total / 2:
            raise iv.Cancelled("enough")

    with pytest.raises(iv.Cancelled):
        iv.open_model(llama_file, report=stop)
    assert told[-1] == "unpacking tiny"
    iv.open_model(llama_file).close()


def _scaled() -> Any:
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return LlamaConfig(
        **tiny.llama_settings(hidden_size=64, num_attention_heads=2, num_key_value_heads=1),
        rope_parameters=rope | {"original_max_position_embeddings": 8192},
    )


def test_llama_3s_scaling_of_rotary_positions_comes_from_its_factors(tmp_path):
    """llama.cpp writes them as a tensor that transformers leaves out."""
    network = families.build(_scaled())
    plain = LlamaConfig(**tiny.llama_settings(), rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    assert plain.rope_parameters["rope_type"] == "default"
    scaled = network.model.rotary_emb.inv_freq
    bare = 5e5 ** -(torch.arange(0, 32, 2).float() / 32)
    factors = (bare / scaled).numpy().astype(np.float32)
    assert factors.max() > 7.9

    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", factors)

    engine = iv.open_model(write(network, tmp_path / "scaled.gguf", changes=add))
    found = engine.kept_traces.model.network
    assert found.config.rope_parameters == network.config.rope_parameters
    assert torch.equal(found.model.rotary_emb.inv_freq, scaled)
    engine.close()
    assert llama3_scaling([float(f) * 1.1 for f in factors], 5e5, 32) is None
    odd = np.full_like(factors, 1.5)
    file = write(network, tmp_path / "odd.gguf", changes=lambda w: w.add_tensor("rope_freqs.weight", odd))
    with pytest.raises(iv.ModelError, match=r"factors of RoPE as Llama 3 has them in rope_freqs.weight; got \[1.5"):
        iv.open_model(file)


def _key(name: str, value: Any) -> Callable[[gguf.GGUFWriter], None]:
    add = {int: "add_uint32", float: "add_float32", str: "add_string", bool: "add_bool"}[type(value)]
    return lambda writer: getattr(writer, add)(name, value)


CHANGED = [
    (_key("llama.attention.scale", 0.5), r"every property can be carried over; llama.attention.scale \(0.5\)"),
    (_key("llama.expert_count", 8), "llama.expert_count"),
    (_key("llama.rope.scaling.type", "yarn"), "scaled by 'yarn'"),
    (_key("llama.attention.causal", False), "reads from left to right"),
    (_key("split.count", 3), "one file; it is one of 3.*llama-gguf-split"),
    (lambda w: w.add_tensor("blk.0.attn_q.bias", np.zeros(32, np.float32)), "blk.0.attn_q.bias has no place in it"),
    (lambda w: w.add_tensor("blk.3.attn_norm.weight", np.zeros(32, np.float32)), "as many blocks .* block_count says"),
    (lambda w: w.add_tensor("odd", np.zeros(4, np.float64)), "odd is F64, which the package gguf cannot"),
]


@pytest.mark.parametrize(("change", "said"), CHANGED, ids=[said[:20] for _, said in CHANGED])
def test_what_cannot_be_carried_over_is_refused_by_name(change, said, tiny_llama, tmp_path):
    file = of_folder(tiny_llama, tmp_path / "tiny.gguf", changes=change)
    with pytest.raises(iv.ModelError, match=said) as caught:
        iv.open_model(file)
    assert "\n" not in str(caught.value)


SIZES = [
    ("block_count", 4, "as many blocks"),
    ("block_count", 10**9, "as many blocks"),
    ("embedding_length", 64, "the width of its table"),
    ("feed_forward_length", 2**31, "the largest side of its tensors"),
    ("feed_forward_length", 49, "tensors of .* numbers in all"),
    ("attention.head_count", 0, "a number above 0 for llama.attention.head_count; got 0"),
    ("attention.head_count", 3, r"tiny: "),
    ("attention.head_count_kv", 8, "no more key and value heads"),
    ("attention.head_count_kv", 1, "tensors of .* numbers in all"),
    ("rope.dimension_count", 4, "rotary positions of the whole head"),
    ("context_length", "long", "a number above 0 for llama.context_length; got 'long'"),
    ("attention.layer_norm_rms_epsilon", "small", "tiny: "),
    ("attention.layer_norm_rms_epsilon", 0.0, "a number above 0 for llama.attention.layer_norm_rms_epsilon"),
]


@pytest.mark.parametrize(("key", "value", "said"), SIZES, ids=[f"{k} {v}" for k, v, _ in SIZES])
def test_sizes_that_the_tensors_do_not_have(key, value, said, tiny_llama, tmp_path):
    """Refused before a model of that size is built."""
    change = _key(f"llama.{key}", value)
    file = of_folder(tiny_llama, tmp_path / "tiny.gguf", changes=change, leave_out=(key,))
    with pytest.raises(iv.ModelError, match=said):
        iv.open_model(file)


@pytest.mark.parametrize("architecture", ["mamba", "t5", "falcon", "nobody knows"])
def test_architectures_that_are_not_read(architecture, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", architecture)
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(iv.ModelError, match=f"read from GGUF here.*it is {architecture}. Choose the original"):
        iv.open_model(tmp_path / "other.gguf")


def test_a_vocabulary_that_is_none(tiny_llama, tmp_path):
    network = AutoModelForCausalLM.from_pretrained(tiny_llama)
    file = write(network, tmp_path / "tiny.gguf")
    content = file.read_bytes()
    for name in (b"tokenizer.ggml.tokens", b"tokenizer.ggml.model"):
        (tmp_path / "none.gguf").write_bytes(content.replace(name, name[:-1] + b"_"))
        with pytest.raises(iv.ModelError, match="none: expected a vocabulary that transformers can make a tokenizer"):
            iv.open_model(tmp_path / "none.gguf")


def test_packing_what_is_packed_and_offloading_it(llama_file):
    with pytest.raises(iv.ModelError, match="tiny: expected quantisation=None for a GGUF file"):
        iv.open_model(llama_file, quantisation="nf4")
    with pytest.raises(iv.ModelError, match=r"device_map 'auto', 'cpu' or 'cuda' for a GGUF file"):
        iv.open_model(llama_file, device_map="offload")


def test_without_the_package(llama_file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(iv.MissingProgramError, match=re.escape("pip install 'intravisto[gguf]'")):
        iv.open_model(llama_file)


def test_unpacking_does_not_read_the_vocabulary(tmp_path: Path) -> None:
    words, numbers = [f"word {i}" for i in range(5_000)], list(range(5_000))
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", words)
    writer.add_array("tokenizer.ggml.token_type", numbers)
    writer.add_array("short", [7, 8, 9])
    writer.add_string("general.name", "after the long ones")
    writer.add_tensor("a.weight", np.arange(64, dtype=np.float32).reshape(2, 32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole, ours = gguf.GGUFReader(tmp_path / "x.gguf"), TensorReader(tmp_path / "x.gguf")
    assert list(ours.fields) == list(whole.fields)
    assert len(whole.fields["tokenizer.ggml.tokens"].data) == 5_000
    assert ours.fields["tokenizer.ggml.tokens"].data == ours.fields["tokenizer.ggml.token_type"].data == []
    for name in ("short", "general.name", "general.architecture"):
        mine, theirs = ours.fields[name], whole.fields[name]
        assert mine.types == theirs.types
        assert [mine.parts[i].tolist() for i in mine.data] == [theirs.parts[i].tolist() for i in theirs.data]
    assert np.array_equal(ours.tensors[0].data, whole.tensors[0].data)
    assert ours.data_offset == whole.data_offset
