"""Conversations: written by the model's own template, with its markers and no start token twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import intravisto_core as iv
from tests import tiny

SYSTEM = ("system", "be brief")
EARLIER = (("user", "ab"), ("assistant", "c!"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_chat_model(tiny.build_character_model("llama"), tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[iv.LocalEngine]:
    opened = iv.open_model(str(folder))
    yield opened
    opened.close()


def reference(folder: Path, conversation: list[tuple[str, str]]) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = [{"role": role, "content": text} for role, text in conversation]
    return tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)


@pytest.mark.parametrize("before", [(), (SYSTEM,), EARLIER, (SYSTEM, *EARLIER)])
def test_ids_are_those_of_the_tokenizers_own_template(folder, engine, before):
    wanted = reference(folder, [*before, ("user", "d |")])
    assert [t.id for t in engine.tokenize("d |", chat=True, messages=before)] == wanted
    trace = engine.trace("d |", max_new_tokens=2, chat=True, messages=before)
    assert [t.id for t in trace.tokens[: trace.prompt_length]] == wanted


def test_the_start_token_stands_there_once_and_markers_are_specials(engine):
    tokens = engine.tokenize("d", chat=True, messages=[SYSTEM])
    assert [t.id for t in tokens].count(tiny.BOS) == 1
    assert [t.shown for t in tokens if t.is_special] == ["<bos>", "<system>", "<eos>", "<user>", "<eos>", "<assistant>"]
    assert tokens[-1].shown == "<assistant>", "the answer begins here"


def test_markers_and_end_are_left_out_of_the_text(engine):
    trace = engine.trace("d |", chat=True, messages=[SYSTEM])
    assert trace.text == "be briefd |"


def test_a_conversation_is_part_of_the_request(engine):
    plain = engine.trace("ab")
    chat = engine.trace("ab", chat=True)
    told = engine.trace("ab", chat=True, messages=[SYSTEM])
    assert len({t.fingerprint for t in (plain, chat, told)}) == 3
    assert told.request.conversation == (SYSTEM, ("user", "ab"))
    assert iv.from_json(iv.to_json(told.request)) == told.request


def test_two_days_of_one_template_are_two_fingerprints(engine, monkeypatch):
    first = engine.trace("ab", chat=True)
    template = engine.kept_traces.model.tokenizer.chat_template
    monkeypatch.setattr(engine.kept_traces.model.tokenizer, "chat_template", template.replace("<bos>", "<bos>1 May."))
    second = engine.trace("ab", chat=True)
    assert first.request == second.request
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(
    ("messages", "said"),
    [([("critic", "no")], "critic"), ([("assistant", "first")], "user")],
)
def test_a_refusal_of_the_template_is_told_with_its_words(engine, messages, said):
    with pytest.raises(iv.RequestError, match=said):
        engine.trace("ab", chat=True, messages=messages)


def test_a_template_runs_in_a_sandbox(engine, monkeypatch):
    attack = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    monkeypatch.setattr(engine.kept_traces.model.tokenizer, "chat_template", attack)
    with pytest.raises(iv.RequestError, match="unsafe"):
        engine.trace("ab", chat=True)


def test_several_templates_need_one_by_default(engine, monkeypatch):
    tokenizer = engine.kept_traces.model.tokenizer
    whole = tokenizer.chat_template
    monkeypatch.setattr(tokenizer, "chat_template", {"tool_use": whole})
    assert not engine.kept_traces.model.reader.has_chat_template
    monkeypatch.setattr(tokenizer, "chat_template", {"tool_use": "x", "default": whole})
    assert engine.kept_traces.model.reader.has_chat_template
    assert engine.tokenize("d", chat=True)[-1].shown == "<assistant>"


def test_a_model_without_a_template_refuses_with_the_reason(engine, case):
    plain = case("llama").engine
    assert engine.model.chat
    assert not plain.model.chat
    with pytest.raises(iv.RequestError, match="none"):
        plain.trace("ab", chat=True)
    with pytest.raises(iv.RequestError, match="none"):
        plain.tokenize("ab", chat=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"messages": [SYSTEM]}, "chat: expected True"),
        ({"chat": True, "messages": ["system"]}, "pairs"),
        ({"chat": True, "messages": [("system", 3)]}, "pairs"),
        ({"chat": True, "messages": 3}, "pairs"),
        ({"chat": True, "messages": [("", "x")]}, "role"),
        ({"chat": "yes"}, "chat"),
        ({"prompt": (1, 2), "chat": True}, "prompt"),
    ],
)
def test_what_is_no_conversation_is_refused(options, said):
    with pytest.raises(iv.RequestError, match=said):
        iv.TraceRequest(**{"prompt": "ab", **options})


def test_half_a_character_in_an_earlier_turn_is_refused(engine):
    with pytest.raises(iv.RequestError, match="surrogate"):
        engine.trace("ab", chat=True, messages=[("system", "\ud800")])
