"""What a script that waits does for the acts of the user that wait for it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.errors import StreamlitAPIException
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.scriptrunner import RerunData
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests
from streamlit.runtime.scriptrunner_utils.script_run_context import RunLocation

from intravisto_ui.session import interrupts

PAGE = "the page's fragment"


class Running:
    """A script of a page: `at` where it is, `again` what it was asked to draw again, "stop" where it was to end."""

    def __init__(self) -> None:
        self.requests = ScriptRequests()
        self.at, self.again, self.whole_app = RunLocation.FRAGMENT, [], False

    def ask(self, *states: WidgetState, **how: Any) -> None:
        """Let something ask for the page's fragment."""
        widgets = WidgetStates()
        widgets.widgets.extend(states)
        self.requests.request_rerun(RerunData(widget_states=widgets, fragment_id=PAGE, **how))

    def rerun(self, scope: str = "app") -> None:
        if scope == "fragment" and self.whole_app:
            raise StreamlitAPIException("not while the whole app is drawn")
        self.again.append(scope)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    script = Running()
    context = SimpleNamespace(script_requests=script.requests)
    monkeypatch.setattr(interrupts, "get_script_run_ctx", lambda: context)
    monkeypatch.setattr(interrupts.ThreadState, "get", lambda: SimpleNamespace(run_location=script.at))
    monkeypatch.setattr(interrupts.st, "rerun", script.rerun)
    monkeypatch.setattr(interrupts.st, "stop", lambda: script.again.append("stop"))
    return script


def told(*events: str) -> WidgetState:
    """What a component tells: one event, or several."""
    said = [{"event": event, "value": None} for event in events]
    return WidgetState(id="grid", json_trigger_value=json.dumps(said if len(said) > 1 else said[0]))


def test_nothing_waits(running: Running) -> None:
    interrupts.heed()
    assert running.again == []


def test_a_click_gets_its_turn(running: Running) -> None:
    running.ask(WidgetState(id="cell", json_value="{}"))
    interrupts.heed()
    assert running.again == ["fragment"]
    running.whole_app = True
    interrupts.heed()
    assert running.again == ["fragment", "app"]


def test_what_a_page_asks_by_itself_is_no_click(running: Running) -> None:
    running.ask(is_auto_rerun=True)
    interrupts.heed()
    assert running.again == []


def test_a_picture_that_asks_for_more_of_itself_is_no_click(running: Running) -> None:
    """It would end the very script that was told of a click a moment before."""
    running.ask(told("more"), WidgetState(id="add", trigger_value=False), WidgetState(id="cell", json_value="{}"))
    interrupts.heed()
    assert running.again == []


@pytest.mark.parametrize(
    "act", [told("act"), told("more", "act"), WidgetState(id="add", trigger_value=True)], ids=["act", "both", "press"]
)
def test_what_is_done_beside_it_is_a_click(running: Running, act: WidgetState) -> None:
    act.id = f"other {act.id}"
    running.ask(told("more"))
    running.ask(act)
    interrupts.heed()
    assert running.again == ["fragment"]


def test_a_script_whose_place_was_taken_ends(running: Running) -> None:
    running.requests.request_stop()
    interrupts.heed()
    assert running.again == ["stop"]


def test_a_callback_does_all_of_its_work(running: Running) -> None:
    running.at = RunLocation.CALLBACK
    running.ask(WidgetState(id="cell", json_value="{}"))
    interrupts.heed()
    running.requests.request_stop()
    interrupts.heed()
    assert running.again == []


def test_outside_of_an_app_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "get_script_run_ctx", lambda: None)
    assert not interrupts.is_waited_for()
    assert not interrupts.draws_page()
