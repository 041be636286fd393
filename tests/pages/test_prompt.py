"""The prompt box: what it warns of, what one click mends, and a conversation around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intravisto_core.records import Token
from intravisto_core.sites import TokenKind
from intravisto_ui.sidebar import chat
from intravisto_ui.sidebar.prompt import NO_START, find_cautions
from tests import tiny
from tests.pages.conftest import App


def word(text: str, id: int = 9, kind: TokenKind = TokenKind.WORD) -> Token:
    return Token(id, text, text, 0, True, kind is not TokenKind.WORD, kind)


START = word("<s>", 1, TokenKind.SPECIAL)
UNKNOWN = word("<unk>", 0, TokenKind.UNKNOWN)
SAID: list[tuple[str, list[Token], dict[str, Any], list[tuple[tuple[str, ...], dict[str, Any]]]]] = [
    ("a", [START, word("a")], {}, []),
    ("", [], {}, [(("empty",), {})]),
    (
        "a " * 12,
        [word("a")] * 12,
        {"max_new_tokens": 3},
        [(("12 tokens", "at most 10"), {}), (("space",), {"prompt": ("a " * 12)[:-1]})],
    ),
    ("a", [word("a")] * 8, {"max_new_tokens": 3}, [(("8 tokens", "3 to generate", "10"), {"max_new_tokens": 2})]),
    ("a", [word("a")] * 7, {"max_new_tokens": 3}, []),
    ("a", [word("a")] * 10, {}, []),
    (" is\t ", [word("is")], {}, [(("space", "one of its own"), {"prompt": " is"})]),
    ("<s>a", [START, START, word("a")], {}, [(("<s> twice",), {"prompt": "a"})]),
    ("a", [START, START, word("a")], {}, [(("<s> twice",), {"add_special_tokens": False})]),
    ("a<s><s>", [word("a"), START, START], {}, []),
    ("aa", [word("a"), word("a")], {}, []),
    ("a€€", [word("a"), UNKNOWN, UNKNOWN], {}, [(("2 parts", "cannot be written", "<unk>"), {})]),
]


@pytest.mark.parametrize(("text", "tokens", "options", "found"), SAID)
def test_what_may_be_wrong_with_a_prompt(text, tokens, options, found) -> None:
    said = find_cautions(text, tuple(tokens), options, 10, chatting=False)
    assert [c.puts for c in said] == [puts for _, puts in found]
    for caution, (words, puts) in zip(said, found, strict=True):
        assert all(w in caution.text for w in words)
        assert bool(caution.mend) is bool(puts)


def test_in_a_chat_the_template_has_the_last_word() -> None:
    said = find_cautions("a ", (START, START, word("a")), {}, 10, chatting=True)
    assert [(c.mend, c.puts) for c in said] == [("", {})]
    assert not find_cautions("a " * 50, (START, word("a")) * 50, {"max_new_tokens": 99}, 0, chatting=True), (
        "no stated context"
    )


def test_one_click_mends_the_start_token_that_is_there_twice(app: App) -> None:
    start = app.workspace.engine.tokenize("x")[0].text
    app.set("text_area", "prompt", start + "1 2 3 ")
    assert "twice" in app.html()
    assert "Ends with a space" in app.html()
    mends = {b.label: b.key for b in app.tester.button if b.key.startswith("mend_")}
    app.click(mends["Remove one"])
    assert app.tester.text_area(key="prompt").value == "1 2 3 "
    app.click("mend_0")
    assert app.tester.text_area(key="prompt").value == "1 2 3"
    assert "twice" not in app.html()
    app.click("run").assert_calm()
    assert app.workspace.shown.request.prompt == "1 2 3"


def test_the_demo_model_has_no_chat(app: App) -> None:
    assert "chat" not in {t.key for t in app.tester.toggle}
    assert chips(app)[0] == "<|bos|>"
    app.set("toggle", "add_special_tokens", False)
    assert chips(app)[0] == "Q"
    assert '<span class="count">' in app.html()
    app.set("number_input", "max_new_tokens", 120)
    assert '<span class="count over">' in app.html(), "prompt and continuation are too long together"
    app.set("number_input", "max_new_tokens", 3)
    app.workspace.options["chat"] = True
    assert not chat.is_on(app.workspace)
    app.click("run").assert_calm()


def test_a_model_whose_tokenizer_puts_no_start_token_says_so(
    app: App, open_app: Callable[..., App], tmp_path: Path
) -> None:
    assert not app.tester.toggle(key="add_special_tokens").disabled
    folder = tiny.save_model(tiny.build_character_model("llama"), tmp_path)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    bare = open_app().type_model(str(folder))
    toggle = bare.tester.toggle(key="add_special_tokens")
    assert toggle.disabled
    assert NO_START in toggle.help


@pytest.fixture
def talking(open_app: Callable[..., App], tmp_path_factory: pytest.TempPathFactory) -> App:
    folder: Path = tiny.save_chat_model(tiny.build_character_model("llama"), tmp_path_factory.mktemp("chat"))
    app = open_app()
    app.type_model(str(folder))
    return app.set("text_area", "prompt", "ab").set("toggle", "chat", True)


def chips(app: App) -> list[str]:
    proto = next(e.proto for e in app.tester.get("bidi_component") if e.proto.component_name == "intravisto_chips")
    return [t["t"] for t in json.loads(proto.json)["tokens"]]


def test_a_conversation_is_shown_and_run_as_the_template_writes_it(talking: App) -> None:
    app = talking
    assert app.tester.text_area(key="prompt").label == "You say"
    assert chips(app) == ["<bos>", "<user>", "a", "b", "<eos>", "<assistant>"]
    app.set("text_area", "system", "be").click("more_turns")
    app.set("text_area", "said_0", "c").set("text_area", "answered_0", "d")
    assert chips(app)[1:8] == ["<system>", "b", "e", "<eos>", "<user>", "c", "<eos>"]
    app.click("run").assert_calm()
    shown = app.workspace.shown
    assert shown.request.messages == (("system", "be"), ("user", "c"), ("assistant", "d"))
    assert [t.shown for t in shown.trace.tokens[: shown.trace.prompt_length]] == chips(app)
    app.click("fewer_turns")
    assert "Changed, not run" in app.html()
    app.set("toggle", "chat", False)
    assert chips(app) == ["<bos>", "a", "b"]


def test_a_refusal_of_the_template_stands_beside_the_chips(talking: App) -> None:
    app = talking
    app.workspace.engine.kept_traces.model.tokenizer.chat_template = "{{ raise_exception('only <b>poems') }}"
    app.tester.run()
    assert "only &lt;b&gt;poems" in app.html()
    assert "<b>poems" not in app.html()
    assert chips(app) == []
    app.click("run")
    assert "only <b>poems" in str(app.workspace.problem)
