"""How tokens are shown: visible spaces and controls, bytes of partial characters, specials, ids that nothing uses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from intravisto_core.glyphs import visible
from intravisto_core.sites import TokenKind
from intravisto_core.tokens import TokenReader
from tests import tiny


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Rome", "␣Rome"),
        ("a  b", "a␣␣b"),
        ("\n\n", "⏎⏎"),
        ("\tx", "⇥x"),
        ("\x00\x1b", "␀␛"),
        ("\x7f", "␡"),
        ("\x85", "⟨U+0085⟩"),
        ("\ud800", "�"),
        ("\u00a0", "⍽"),
        ("a\u3000", "a⟨U+3000⟩"),
        ("\u200b", "⟨U+200B⟩"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u2028", "⟨U+2028⟩"),
        ("é", "é"),
        ("e\u0301", "e\u0301"),
        ("\u0301", "⟨U+0301⟩"),
        ("日本", "日本"),
        ("שלום", "שלום"),
        ("👩\u200d🚀", "👩\u200d🚀"),
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
    """Byte-level BPE, trained until the euro sign and parts of Japanese and Hebrew letters are tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|bos|>", "<|end|>"],
        show_progress=False,
    )
    backend.train_from_iterator([" Rome Rome €€ שלום 日本語"] * 3, trainer)
    return TokenReader(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|bos|>", eos_token="<|end|>"))


@pytest.fixture(scope="module")
def bpe() -> TokenReader:
    return byte_level()


VOCABULARY = ("<unk>", "<s>", "</s>", "▁Rome", "me", "▁", "a", "▁a")


def sentencepiece(byte_fallback: bool = True, extra: tuple[str, ...] = ()) -> TokenReader:
    """As SentencePiece writes BPE: ▁ for a space, and a token for every byte, or <unk>, for what is not in it."""
    pieces = [*VOCABULARY, *extra, *(f"<0x{b:02X}>" for b in range(256) if byte_fallback)]
    ids = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab=ids, merges=[], unk_token="<unk>", byte_fallback=byte_fallback))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken("<turn>", special=True)])
    return TokenReader(
        PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    )


def read(reader: TokenReader, text: str) -> list:
    return list(reader.tokens(reader.encode(text, add_special_tokens=False), 0))


def test_bytes_of_a_partial_character_say_what_they_spell_together(bpe):
    tokens = read(bpe, "a€ ع!")
    assert [t.shown for t in tokens] == ["a", "€", "␣", "⟨D8⟩", "⟨B9⟩", "!"]
    assert [t.kind for t in tokens[2:5]] == [TokenKind.WORD, TokenKind.BYTES, TokenKind.BYTES]
    assert [(t.spells, t.part) for t in tokens[3:]] == [("ع", 0), ("ع", 1), ("", 0)]
    assert {t.spells for t in tokens[:3]} == {""}
    assert bpe.decode([t.id for t in tokens]) == "a€ ع!"


def test_a_character_cut_off_spells_nothing(bpe):
    ids = bpe.encode("ع👩", add_special_tokens=False)[:-1]
    spelled = [t.spells for t in bpe.tokens(ids, 0)]
    assert spelled == ["ع", "ع"] + [""] * (len(ids) - 2)
    assert all(t.kind is TokenKind.BYTES for t in bpe.tokens(ids, 0))


@pytest.mark.parametrize("text", ["שלום", "日本語 Rome", "aع€👩é", "\u202eabc", "عع€€"])
def test_text_of_every_script_is_put_together_again(bpe, text):
    for reader in (bpe, sentencepiece()):
        tokens = read(reader, text)
        assert reader.decode([t.id for t in tokens]) == text
        seen = ["" if t.part else t.spells or t.shown for t in tokens]
        assert "".join(seen) == visible(text)


def test_specials_and_ids_beyond_the_tokenizer(bpe):
    tokens = bpe.tokens([0, *bpe.encode("<|end|>x", add_special_tokens=False), 9999], prompt_length=2)
    assert [t.shown for t in tokens] == ["<|bos|>", "<|end|>", "x", "⟨unused 9999⟩"]
    assert [t.is_special for t in tokens] == [True, True, False, False]
    assert [t.is_prompt for t in tokens] == [True, True, False, False]
    assert [str(t.kind) for t in tokens] == ["special", "special", "word", "unused"]
    assert bpe.decode([0, *bpe.encode("hi", add_special_tokens=False), 1, 9999]) == "hi"
    assert bpe.shown(-1) == ""


def test_byte_fallback_and_specials_of_a_sentencepiece_vocabulary():
    reader = sentencepiece()
    tokens = read(reader, "<s> Rome\n€<turn>")
    assert [t.shown for t in tokens][:1] == ["<s>"]
    assert [t.shown for t in tokens[-5:]] == ["⟨0A⟩", "⟨E2⟩", "⟨82⟩", "⟨AC⟩", "<turn>"]
    assert [t.spells for t in tokens[-5:]] == ["⏎", "€", "€", "€", ""]
    assert [str(t.kind) for t in tokens[-5:]] == ["bytes"] * 4 + ["special"]
    assert tokens[-1].is_special, "a mark that is not named as start or end of a text is one too"
    assert [reader.shown(VOCABULARY.index(p)) for p in ("▁Rome", "me", "▁")] == ["␣Rome", "me", "␣"]


def test_text_that_the_vocabulary_cannot_write_is_marked():
    tokens = read(sentencepiece(byte_fallback=False), "a€")
    assert [t.shown for t in tokens] == ["a", "<unk>"]
    assert [str(t.kind) for t in tokens] == ["word", "unknown"]


def test_ids_in_a_gap_of_the_vocabulary_are_unused():
    backend = Tokenizer(models.WordLevel(vocab={"a": 0, "b": 5}, unk_token="a"))
    reader = TokenReader(PreTrainedTokenizerFast(tokenizer_object=backend))
    assert [reader.shown(i) for i in (0, 3, 5, 6)] == ["a", "⟨unused 3⟩", "b", "⟨unused 6⟩"]
    assert [str(reader.kind(i)) for i in (0, 3, 5, 6)] == ["word", "unused", "word", "unused"]


def test_two_ids_are_never_shown_alike():
    reader = sentencepiece(extra=(" a", "␣a", "x"))
    names = [reader.shown(i) for i in range(len(VOCABULARY) + 3)]
    assert names.count("␣a") == 1
    assert names[-3:] == ["␣a⟨#8⟩", "␣a⟨#9⟩", "x"]
    assert len(set(names)) == len(names)


def test_text_that_looks_like_markup_stays_text(case):
    tokens = case("llama").engine.tokenize("<br>&$", add_special_tokens=False)
    assert "".join(t.shown for t in tokens) == "<br>&$"
    assert len(tiny.VOCABULARY) > max(t.id for t in tokens)
