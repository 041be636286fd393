"""What a checkpoint says about generating never makes a right model wrong; its stop tokens are transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import intravisto_core as iv
from tests import tiny
from tests.loading.test_folders import configure
from tests.reference import plain

N_NEW = 40


@pytest.fixture
def folder(tiny_llama, tmp_path):
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def say(folder: Path, **options: object) -> None:
    (folder / "generation_config.json").write_text(json.dumps(options))


ASKED = [
    ({"repetition_penalty": 1.2}, "repetition_penalty 1.2"),
    ({"suppress_tokens": list(range(20, 97))}, "suppress_tokens (77)"),
    ({"stop_strings": ["a", "b"]}, "stop_strings (2)"),
    ({"num_return_sequences": 3}, "num_return_sequences 3"),
    ({"no_repeat_ngram_size": 1, "min_new_tokens": 5}, "no_repeat_ngram_size 1, min_new_tokens 5"),
    ({"watermarking_config": {"bias": 2.0}}, "watermarking_config (given)"),
    ({"cache_implementation": "no such thing"}, ""),
    ({"repetition_penalty": 1.0, "suppress_tokens": [], "num_beams": 1, "temperature": 0.7}, ""),
]


@pytest.mark.parametrize(("options", "noted"), ASKED, ids=[next(iter(options)) for options, _ in ASKED])
def test_a_right_model_is_right_whatever_its_generation_file_asks_for(folder, case, options, noted):
    say(folder, **options, eos_token_id=tiny.EOS)
    engine = iv.open_model(folder)
    kept = case("llama").trace
    trace = engine.trace(tiny.PROMPT, max_new_tokens=tiny.N_NEW)
    assert [t.id for t in trace.tokens] == [t.id for t in kept.tokens]
    notes = engine.model.notes
    assert len(notes) == (1 if noted else 0)
    assert not noted or noted in notes[0]
    engine.close()


@pytest.mark.parametrize(
    ("in_file", "in_config"),
    [
        ({"eos_token_id": None}, 2),
        ({}, 2),
        ({"eos_token_id": [2, 28]}, None),
        ({"eos_token_id": 28}, 2),
        (None, 28),
        (None, [28, 2]),
        (None, None),
    ],
)
def test_stop_tokens_follow_the_rule_of_transformers(folder, in_file, in_config):
    configure(folder, eos_token_id=in_config)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if in_file is not None:
        say(folder, **in_file)
    engine = iv.open_model(folder)
    trace = engine.trace(tiny.PROMPT, max_new_tokens=N_NEW)
    prompt = [t.id for t in trace.tokens][: trace.prompt_length]
    assert [t.id for t in trace.tokens] == plain.generate(plain.load(folder), prompt, N_NEW)
    engine.close()


@pytest.mark.parametrize("stop", ["</s>", 2.5, [2, "x"], {"a": 1}, True])
def test_stop_tokens_that_are_no_ids_are_refused(folder, stop):
    say(folder, eos_token_id=stop)
    with pytest.raises(iv.ModelError, match=r"eos_token_id in generation_config.json.*token id"):
        iv.open_model(folder)


@pytest.mark.parametrize("raw", ["[1]", "{", "[" * 100_000, "", b"\xff\xfe{"])
def test_a_damaged_generation_file_is_named(folder, raw):
    (folder / "generation_config.json").write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    with pytest.raises(iv.ModelError, match=r"expected generation_config.json to be JSON"):
        iv.open_model(folder)
