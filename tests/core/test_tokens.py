"""How tokens are shown: visible spaces and controls, bytes of partial characters, specials, ids that nothing uses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from intravisto_core.tokens import TokenReader, visible
from tests import models_tiny


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Rome", "␣Rome"),
        ("a  b", "a␣␣b"),
        ("\n\n", "⏎⏎"),
        ("\tx", "⇥x"),
        ("\x00\x1b", "␀␛"),
        ("\x7f", "␡"),
        ("\ud800", "�"),
        ("\u00a0", "␣"),
        ("\u200b", "⟨U+200B⟩"),
        ("é", "é"),
        ("e\u0301", "e\u0301"),
        ("\u0301", "⟨U+0301⟩"),
        ("日本", "日本"),
        ("<br>", "<br>"),
        ("$x$ %{y} &lt;", "$x$␣%{y}␣&lt;"),
        ("", ""),
    ],
)
def test_every_character_is_to_be_seen(text, shown):
    assert visible(text) == shown


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=8))
def test_a_shown_text_is_never_empty_and_can_be_written_as_xml(text):
    shown = visible(text)
    assert shown
    assert all(c >= " " and c != "\x7f" for c in shown)
    shown.encode("utf-8")


def byte_level() -> TokenReader:
    """A tokenizer of single bytes, as byte-level BPE spells them, with two specials in front."""
    alphabet = ["<|bos|>", "<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return TokenReader(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|bos|>", eos_token="<|end|>"))


def test_bytes_of_a_partial_character_are_shown_as_bytes():
    reader = byte_level()
    ids = reader.encode("a€ ", add_special_tokens=False)
    assert [reader.shown(i) for i in ids] == ["a", "⟨E2⟩", "⟨82⟩", "⟨AC⟩", "␣"]
    assert reader.decode(ids) == "a€ "


def test_specials_and_ids_beyond_the_tokenizer():
    reader = byte_level()
    tokens = reader.tokens([0, *reader.encode("<|end|>x", add_special_tokens=False)], prompt_length=2)
    assert [t.shown for t in tokens] == ["<|bos|>", "<|end|>", "x"]
    assert [t.is_special for t in tokens] == [True, True, False]
    assert [t.is_prompt for t in tokens] == [True, True, False]
    assert reader.shown(9999) == "⟨unused 9999⟩"
    assert reader.decode([0, *reader.encode("hi", add_special_tokens=False), 1, 9999]) == "hi"
    assert reader.shown(-1) == ""


def test_words_of_a_sentencepiece_vocabulary():
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "▁Rome": 3, "me": 4, "<0x0A>": 5, "<0xE2>": 6, "▁": 7}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    reader = TokenReader(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>"))
    assert [reader.shown(i) for i in (1, 3, 4, 6, 7)] == ["<s>", "␣Rome", "me", "⟨E2⟩", "␣"]
    assert reader.shown(5) in ("⏎", "⟨0A⟩")


def test_text_that_looks_like_markup_stays_text(case):
    tiny = case("llama")
    tokens = tiny.engine.tokenize("<br>&$", add_special_tokens=False)
    assert "".join(t.shown for t in tokens) == "<br>&$"
    assert len(models_tiny.VOCABULARY) > max(t.id for t in tokens)
