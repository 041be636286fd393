"""Rules of a tokenizer that could run for hours are asked with limits; those of published models are not."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import intravisto_core as iv
from intravisto_core.models.files import tokenizer_limits
from intravisto_core.models.files.tokenizer_limits import LimitedTokenizer, is_harmless, may_explode
from intravisto_core.tokens import TokenReader

HARMLESS = [
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+""",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"[0-9][0-9][0-9]",
    r"\s{2,}|[\n\r\t]",
    r"[一-龥぀-ゟ゠-ヿ]+",
]
DANGEROUS = [
    *(r"(a+)+$", r"(a|a)*b", r"((ab)+c?)*d", r"(.*)\1", r"a*a*a*b", r"(?:a+){2,}b", r"(x+x+)+y", "((a", "a)"),
    *(r"([a-z]+)*$", r"(a{1,30}){1,30}b", "a?" * 30 + "a" * 30),
]


@pytest.mark.parametrize("expression", HARMLESS)
def test_expressions_of_published_models_need_no_limits(expression):
    assert is_harmless(expression)
    assert not may_explode({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"})


@pytest.mark.parametrize("expression", DANGEROUS)
def test_expressions_that_can_explode_do(expression):
    assert not is_harmless(expression)
    assert may_explode({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": expression}}]})


def test_replacements_that_let_a_text_grow_need_limits():
    double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    assert not may_explode({"type": "Sequence", "normalizers": [double]})
    assert may_explode({"type": "Sequence", "normalizers": [double] * 40})


def folder_with(tiny_llama: Path, tmp_path: Path, **rules: object) -> Path:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | rules))
    return folder


def split(expression: str) -> dict[str, object]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    by = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [by, level]}


def test_a_limited_tokenizer_gives_the_same_and_stops_what_explodes(tiny_llama, tmp_path):
    # more than 5 repetitions of one letter in a row: backtracks for ever on a text of "y" without an end
    folder = folder_with(tiny_llama, tmp_path, pre_tokenizer=split(r"(y|y|yy)+(?<=y)Q"))
    engine = iv.open_model(folder)
    plain = AutoTokenizer.from_pretrained(folder)
    assert isinstance(engine.kept_traces.model.tokenizer, LimitedTokenizer)
    assert engine.model.notes == ()
    for text in ("ab c!", "", "<eos>a", "yyQ ä"):
        assert [t.id for t in engine.tokenize(text)] == plain(text).input_ids
        assert [t.id for t in engine.tokenize(text, add_special_tokens=False)] == plain(
            text, add_special_tokens=False
        ).input_ids
    trace = engine.trace("ab", max_new_tokens=3)
    ids = [t.id for t in trace.tokens]
    assert trace.text == plain.decode(ids, skip_special_tokens=True)
    engine.close()
    limited = TokenReader(LimitedTokenizer(plain, seconds=1.5))
    caught = []

    def explode() -> None:
        with pytest.raises(iv.RequestError, match=r"tokenizer was stopped: it does not end within 1.5 s"):
            limited.encode("y" * 5000, add_special_tokens=False)
        caught.append(True)

    thread = threading.Thread(target=explode)
    thread.start()
    assert limited.encode("ab", add_special_tokens=False) == plain("ab", add_special_tokens=False).input_ids
    thread.join()
    assert caught


def test_what_a_limited_tokenizer_read_or_could_not_read_is_not_asked_again_at_once(tiny_llama, monkeypatch):
    tokenizer = LimitedTokenizer(AutoTokenizer.from_pretrained(tiny_llama))
    asked, honest = [], tokenizer._ask

    def ask(what: dict) -> object:
        asked.append(what["text"])
        if what["text"] == "stuck":
            raise iv.RequestError("it was stopped")
        return honest(what)

    monkeypatch.setattr(tokenizer, "_ask", ask)
    first = tokenizer("ab")["input_ids"]
    first.append(7)
    assert tokenizer("ab")["input_ids"] == first[:-1], "whoever changes what came changes nothing else"
    assert tokenizer("ab", add_special_tokens=False)["input_ids"] != first[:-1]
    for _ in range(2):
        with pytest.raises(iv.RequestError, match="it was stopped"):
            tokenizer("stuck")
    assert asked == ["ab", "ab", "stuck"]
    monkeypatch.setattr(tokenizer_limits, "_REFUSED_S", -1.0)
    tokenizer._known.clear()
    for _ in range(2):
        with pytest.raises(iv.RequestError, match="it was stopped"):
            tokenizer("stuck")
    assert asked == ["ab", "ab", "stuck", "stuck", "stuck"], "later it is tried again"
    monkeypatch.setattr(tokenizer_limits, "_MOST_KNOWN", 2)
    for text in ("a", "b", "c"):
        tokenizer(text)
    assert len(tokenizer._known) == 2


def test_rules_that_fill_the_memory_are_refused_before_they_are_met(tiny_llama, tmp_path):
    double = {"type": "Replace", "pattern": {"Regex": "(?:.)"}, "content": "ooo"}
    folder = folder_with(tiny_llama, tmp_path, normalizer={"type": "Sequence", "normalizers": [double] * 40})
    with pytest.raises(iv.ModelError, match=r"tokenizer.json that splits a short text into tokens; it"):
        iv.open_model(folder)


def test_a_text_beyond_every_context_is_refused(case):
    with pytest.raises(iv.RequestError, match="at most 8,000,000 characters"):
        case("llama").engine.tokenize("a" * 8_000_001)
