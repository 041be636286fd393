"""Typed texts of a model whose tokenizer takes long: whoever waits for them can do something else."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

import intravisto_core as iv
from intravisto_core import limited
from intravisto_core.limited import LimitedProgram
from intravisto_core.models.files.tokenizer_limits import LimitedTokenizer
from intravisto_core.tokens import TokenReader
from intravisto_ui.session import interrupts, tokenizing
from tests.pages.conftest import App

WAIT_S = 60


class Click(BaseException):
    """What Streamlit ends a script with."""


def test_a_text_that_takes_long_is_given_up_for_what_the_user_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, looks = threading.Event(), []

    def endless(*_: object, **__: object) -> tuple[()]:
        asked.set()
        with limited._heeded.get().ending(asked.clear):
            while asked.is_set():
                time.sleep(0.01)
        return ()

    def heed() -> None:
        looks.append(1)
        if len(looks) == 2:
            raise Click

    monkeypatch.setattr(interrupts, "heed", heed)
    with pytest.raises(Click):
        tokenizing.tokenize(SimpleNamespace(tokenize=endless), "a text")
    assert len(looks) == 2
    assert not asked.is_set(), "what was waited for was ended"


def test_what_is_read_at_once_and_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "heed", lambda: pytest.fail("nothing was waited for"))

    def tokenize(text: str, special: bool, *, chat: bool, messages: object) -> tuple[object, ...]:
        if text == "no":
            raise iv.RequestError("no such text")
        return text, special, chat, messages

    engine = SimpleNamespace(tokenize=tokenize)
    assert tokenizing.tokenize(engine, "ab", False, chat=True, messages=((1),)) == ("ab", False, True, ((1),))
    with pytest.raises(iv.RequestError, match="no such text"):
        tokenizing.tokenize(engine, "no")


def test_a_prompt_that_the_tokenizer_cannot_read_is_said_and_asked_once(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = app.workspace.engine.kept_traces
    reader = TokenReader(LimitedTokenizer(traces.model.tokenizer))
    monkeypatch.setattr(traces, "model", replace(traces.model, reader=reader))
    asked, honest = [], LimitedProgram.ask

    def ask(self: LimitedProgram, what: object) -> object:
        if isinstance(what, dict) and what.get("text") == "stuck":
            asked.append(what)
            raise limited.LimitReached("does not end within 5 s")
        return honest(self, what)

    monkeypatch.setattr(LimitedProgram, "ask", ask)
    app.set("text_area", "prompt", "stuck")
    app.tester.run()
    assert len(asked) == 1
    assert "tokenizer was stopped: it does not end within 5 s" in app.html()
