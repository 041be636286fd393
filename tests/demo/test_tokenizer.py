"""The tokenizer that comes with the demo model."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.demo.corpus import Sampler, document, text_of, word_list
from intravisto_core.demo.tokenizer import BEGIN, END, LineEncoder


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL_FOLDER, local_files_only=True)


def test_every_word_of_the_list_is_one_token_after_a_space(tokenizer: PreTrainedTokenizerBase) -> None:
    split = [word for word in word_list() if len(tokenizer.encode(" " + word, add_special_tokens=False)) != 1]
    assert split == []


def test_a_text_begins_with_the_beginning_token_by_itself(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer("The capital of France is")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids[0]) == BEGIN == tokenizer.bos_token
    assert tokenizer.bos_token_id not in ids[1:]


def test_the_end_token_is_known_as_such(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.eos_token == END
    assert tokenizer.encode(END, add_special_tokens=False) == [tokenizer.eos_token_id]


def test_any_text_comes_back_unchanged(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "Zürich, 日本語 🙂 \t two  spaces\n\nand an unseen word: zyzzyva?"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_line_encoder_agrees_with_the_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    encoder, sampler = LineEncoder(tokenizer.backend_tokenizer), Sampler(8)
    for _ in range(500):
        drawn = document(sampler)
        ids, answers = encoder.encode(drawn)
        assert ids == tokenizer.encode(text_of(drawn), add_special_tokens=False)
        assert len(ids) == len(answers)
