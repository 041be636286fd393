"""What a script that waits does for the acts of the user that wait for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import RunLocation

from intravisto_ui.session import interrupts


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A script of a page: `ask` is what waits for it, `at` where it is, `again` what it was asked to draw again."""
    state = SimpleNamespace(ask=None, auto=False, at=RunLocation.FRAGMENT, again=[], whole_app=False)

    def context() -> Any:
        requests = SimpleNamespace(_state=state.ask, _rerun_data=SimpleNamespace(is_auto_rerun=state.auto))
        return SimpleNamespace(script_requests=requests)

    def rerun(scope: str = "app") -> None:
        if scope == "fragment" and state.whole_app:
            raise StreamlitAPIException("not while the whole app is drawn")
        state.again.append(scope)

    monkeypatch.setattr(interrupts, "get_script_run_ctx", context)
    monkeypatch.setattr(interrupts.ThreadState, "get", lambda: SimpleNamespace(run_location=state.at))
    monkeypatch.setattr(interrupts.st, "rerun", rerun)
    return state


def test_nothing_waits(running: Any) -> None:
    running.ask = ScriptRequestType.CONTINUE
    interrupts.heed()
    assert running.again == []


def test_a_click_gets_its_turn(running: Any) -> None:
    running.ask = ScriptRequestType.RERUN
    interrupts.heed()
    assert running.again == ["fragment"]
    running.whole_app = True
    interrupts.heed()
    assert running.again == ["fragment", "app"]


def test_what_a_page_asks_by_itself_is_no_click(running: Any) -> None:
    running.ask, running.auto = ScriptRequestType.RERUN, True
    interrupts.heed()
    assert running.again == []


def test_a_callback_does_all_of_its_work(running: Any) -> None:
    running.ask, running.at = ScriptRequestType.RERUN, RunLocation.CALLBACK
    interrupts.heed()
    assert running.again == []


def test_outside_of_an_app_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "get_script_run_ctx", lambda: None)
    assert not interrupts.is_waited_for()
