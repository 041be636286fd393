"""Every error is an IntravistoError: what was expected, what came, what to do; and the engine lives on."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import intravisto_core as iv
from intravisto_core.engine.job import Job
from intravisto_core.request import TraceRequest
from tests.tiny import CONTEXT, N_LAYERS, VOCABULARY


def refused(source: object, **options: object) -> str:
    """The message with which a model is refused."""
    with pytest.raises(iv.IntravistoError) as caught:
        iv.open_model(str(source), **options)
    message = str(caught.value)
    assert "\n" not in message.strip(), "a message is one line"
    assert "Traceback" not in message
    return message


@pytest.fixture
def copy(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama to damage."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "damaged"))


def test_an_unknown_model():
    message = refused("no/such-model")
    assert "no/such-model" in message
    assert "demo" in message


def test_an_empty_folder(tmp_path):
    assert "config.json" in refused(tmp_path)


def test_a_folder_without_weights(copy):
    (copy / "model.safetensors").unlink()
    message = refused(copy)
    assert "safetensors" in message
    assert "damaged" in message, "the folder is named"


def test_an_unsupported_family_lists_those_that_are(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "t5"}))
    message = refused(copy)
    for word in ("t5", "llama", "gpt2"):
        assert word in message


def test_a_model_with_its_own_code_is_not_run(copy):
    config = json.loads((copy / "config.json").read_text())
    wanted = {"model_type": "strange", "auto_map": {"AutoModelForCausalLM": "modeling_strange.Strange"}}
    (copy / "config.json").write_text(json.dumps(config | wanted))
    trap = copy / "ran"
    (copy / "modeling_strange.py").write_text(f"open({str(trap)!r}, 'w')")
    assert "code" in refused(copy)
    assert not trap.exists()


def test_pickled_weights_only(copy):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    message = refused(copy)
    assert "pytorch_model.bin" in message
    assert "safetensors" in message


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_damaged_safetensors(copy, damage):
    file = copy / "model.safetensors"
    raw = file.read_bytes()
    file.write_bytes({"cut": raw[: len(raw) // 2], "noise": b"\xff" * 4000, "empty": b""}[damage])
    message = refused(copy)
    assert "model.safetensors" in message


def test_a_config_that_is_no_json(copy):
    (copy / "config.json").write_text("{")
    assert "config.json" in refused(copy)


def test_weights_of_another_shape(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    refused(copy)


def test_weights_with_a_matrix_missing(copy):
    weights = load_file(copy / "model.safetensors")
    weights.pop("model.layers.1.mlp.down_proj.weight")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert "down_proj" in refused(copy)


def test_a_folder_without_tokenizer(copy):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert "tokenizer" in refused(copy)


def test_a_wrong_dtype_or_device(tiny_llama):
    assert "bfloat16" in refused(tiny_llama, dtype="float8")
    assert "cpu" in refused(tiny_llama, device_map="tpu")
    if not torch.cuda.is_available():
        assert "cuda" in refused(tiny_llama, device_map="cuda")


def test_weights_that_are_not_numbers(copy):
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = torch.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert "finite" in refused(copy)


def test_activations_that_are_not_finite(copy):
    """One token's embedding overflows: the run fails and says where, and the engine goes on."""
    weights = load_file(copy / "model.safetensors")
    weights["model.embed_tokens.weight"][VOCABULARY.index("Q")] = torch.inf
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    engine = iv.open_model(str(copy))
    kept = engine.trace("abc")
    with pytest.raises(iv.IntravistoError, match=r"finite.*embeddings"):
        engine.trace("abQc")
    assert engine.trace("abc", max_new_tokens=2).prompt_length == 4
    assert kept.heatmap().p_max.shape[1] == 4
    engine.close()


WRONG_RUNS = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": ()}, "prompt"),
    ({"prompt": "", "add_special_tokens": False}, "prompt"),
    ({"prompt": (500,)}, "500"),
    ({"prompt": (-1,)}, "-1"),
    ({"prompt": "abc", "max_new_tokens": 2000}, "1024"),
    ({"prompt": "abc", "max_new_tokens": -1}, "max_new_tokens"),
    ({"prompt": "abc", "temperature": 0.0}, "temperature"),
    ({"prompt": "abc", "temperature": 1.0, "top_p": 1.5}, "top_p"),
    ({"prompt": "abc", "temperature": 1.0, "top_k": 0}, "top_k"),
    ({"prompt": "abc", "top_k": 5}, "temperature"),
    ({"prompt": "abc", "stop": [""]}, "stop"),
    ({"prompt": "abc", "sites": ["middle"]}, "resid_mid"),
]


@pytest.mark.parametrize(("options", "said"), WRONG_RUNS)
def test_a_wrong_run_is_refused_and_the_engine_goes_on(case, options, said):
    engine = case("llama").engine
    with pytest.raises(iv.IntravistoError, match=said):
        engine.trace(**options)
    assert engine.trace("ab").prompt_length == 3


def test_a_prompt_beyond_the_context_says_both_lengths(case):
    engine = case("gpt2").engine
    with pytest.raises(iv.IntravistoError) as caught:
        engine.trace("a" * (CONTEXT + 5))
    assert str(CONTEXT) in str(caught.value)
    assert str(CONTEXT + 6) in str(caught.value), "the prompt's tokens, BOS included"


def test_generation_stops_at_the_context_and_says_so(case):
    trace = case("gpt2").engine.trace("a" * (CONTEXT - 4), max_new_tokens=20)
    assert len(trace.tokens) <= CONTEXT
    assert any(str(CONTEXT) in note for note in trace.notes)


WRONG_VIEWS = [
    (lambda trace: trace.activation("resid_post", layer=3), "layer"),
    (lambda trace: trace.activation("resid_post", layer=0, head=0), "head"),
    (lambda trace: trace.activation("q", layer=0, head=4), "head"),
    (lambda trace: trace.activation("k", layer=0, head=2), "head"),
    (lambda trace: trace.activation("residual", layer=0), "resid_post"),
    (lambda trace: trace.pattern(layer=0, head=9), "head"),
    (lambda trace: trace.pattern(layer=7, head=0), "layer"),
    (lambda trace: trace.logits(position=99), "position"),
    (lambda trace: trace.heatmap(rows=[]), "rows"),
    (lambda trace: trace.heatmap(rows="top"), "rows"),
    (lambda trace: trace.heatmap(watch=[""]), "at least one token"),
]


@pytest.mark.parametrize(("ask", "said"), WRONG_VIEWS)
def test_a_wrong_view_is_refused_and_the_trace_lives_on(case, ask, said):
    trace = case("llama").trace
    with pytest.raises(iv.IntravistoError, match=said):
        ask(trace)
    assert trace.logits().shape == (len(VOCABULARY),)


def test_a_trace_that_does_not_exist(case):
    from intravisto_core.request import HeatmapView

    with pytest.raises(iv.IntravistoError, match="trace"):
        case("llama").engine.view(HeatmapView(trace="0" * 32))


def test_a_closed_engine_says_so(tiny_gpt2):
    engine = iv.open_model(str(tiny_gpt2))
    engine.close()
    asked = (
        lambda: engine.trace("abc"),
        lambda: engine.tokenize("abc"),
        lambda: engine.estimate(5),
        lambda: engine.expected_seconds(5),
        lambda: engine.find("abc"),
        lambda: engine.describe("abc"),
        lambda: engine.forget("abc"),
        lambda: engine.pin("abc"),
        lambda: engine.unpin("abc"),
        lambda: engine.direction("up", "abc"),
        lambda: engine.submit(TraceRequest("abc")),
    )
    for ask in asked:
        with pytest.raises(iv.TraceError, match="clos"):
            ask()
    assert engine.model.n_layers == N_LAYERS
    engine.close()


def test_diagnostics_hold_no_prompt(case):
    tiny = case("llama")
    tiny.engine.trace("zzzzz")
    text = iv.diagnostics(tiny.engine)
    for word in ("torch", "transformers", "llama", "residual"):
        assert word in text
    assert "zzzzz" not in text
    assert str(Path.home()) not in text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no process")
def test_a_fork_says_that_it_has_no_thread_for_the_model(case):
    """Without this it would wait for ever."""
    engine = case("llama").engine
    kept, pending = engine.trace("ab"), Job(TraceRequest("ab"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        for ask in (lambda: engine.trace("ab"), kept.heatmap, lambda: pending.result(5)):
            try:
                said.append(repr(ask()))
            except BaseException as error:
                said.append(f"{type(error).__name__}: {error}")
        engine.close()
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert len(said) == 3
    for each in said:
        assert re.match(r"TraceError: .* was forked from it.* Open the model in each process", each)
    assert engine.trace("ab").tokens == kept.tokens, "the first process goes on"
