"""The model that comes with the program: its files, how it loads, and what its card says of it."""

from __future__ import annotations

import json
import logging
import warnings

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import intravisto_core as iv
from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.demo.card import card_text
from intravisto_core.demo.corpus import Sampler, line, word_list
from intravisto_core.demo.evaluate import Examiner
from intravisto_core.demo.heads import head_scores

CARD = json.loads((MODEL_FOLDER / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    return Examiner(MODEL_FOLDER)


def test_the_folder_is_complete_and_small() -> None:
    described = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {*described, "model.safetensors", "README.md"} <= {file.name for file in MODEL_FOLDER.iterdir()}
    assert (MODEL_FOLDER / "model.safetensors").stat().st_size <= 8_000_000


def test_it_loads_without_a_warning(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, local_files_only=True)
        AutoTokenizer.from_pretrained(MODEL_FOLDER, local_files_only=True)
    assert caplog.text == ""
    assert "warn" not in capfd.readouterr().err.lower()
    assert model.dtype == torch.float32
    assert not model.config.tie_word_embeddings


def test_the_default_prompt_is_answered_and_ends(examiner: Examiner) -> None:
    answer = examiner.answer("Q: What is the capital of Italy? A:")
    assert answer.startswith(" Rome")
    assert answer.endswith(examiner.tokenizer.eos_token)


@pytest.mark.parametrize("task", ["fact", "reverse fact", "indirect object", "opposite", "colour", "copy", "sequence"])
def test_it_knows_what_its_card_says(examiner: Examiner, task: str) -> None:
    sampler = Sampler(77, held_out=True)
    right = [each for _ in range(50) for each in examiner.is_right(line(sampler, task))]
    assert sum(right) / len(right) > CARD["accuracy"][task] - 0.15


def test_the_card_belongs_to_these_weights_and_words(examiner: Examiner) -> None:
    assert CARD["file_bytes"] == (MODEL_FOLDER / "model.safetensors").stat().st_size
    assert tuple(CARD["words"]) == word_list()
    assert (MODEL_FOLDER / "README.md").read_text(encoding="utf-8") == card_text(CARD)


def test_the_heads_of_the_card_are_found_again(examiner: Examiner) -> None:
    scores = head_scores(examiner.model, examiner.encode)
    for part, layers in CARD["heads"].items():
        torch.testing.assert_close(torch.tensor(scores[part]), torch.tensor(layers), rtol=0, atol=0.02)


def test_ranks_by_row_are_those_of_the_heatmap(examiner: Examiner) -> None:
    sampler, engine = Sampler(78, held_out=True), iv.open_model("demo")
    try:
        for task in ("fact", "indirect object", "sequence"):
            drawn = line(sampler, task)
            ids, places = examiner.encode(drawn)
            trace = engine.trace(tuple(ids[0].tolist()), add_special_tokens=False)
            grid = trace.heatmap(positions=[places[0] - 1], watch=[int(ids[0, places[0]])])
            ranks = grid.watch[0].rank[:, 0].tolist()
            assert examiner.rank_by_row(drawn) == ranks[:-1]
            assert (ranks[-1] == 1) == examiner.is_right(drawn)[0]
    finally:
        engine.close()
