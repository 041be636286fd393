"""The app under Streamlit's own tester, on the demo model, without a browser."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from intravisto_core.engine import LocalEngine
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.session.workspaces import workspaces

# as a server is after its first seconds: before them, the first picture comes from a file (test_first_run)
assert LocalEngine
APP = Path(__file__).parents[2] / "app.py"
SECONDS = 120


class Pages(PagesManager):
    """Streamlit's tester forgets before each run that the app calls `st.navigation`, and takes a page for the app.

    It sets the flag on this class; the one that counts stays as a server has it after the first visit.
    """


@contextmanager
def as_a_server() -> Iterator[None]:
    """The app under the tester finds its pages as it does on a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_test, "PagesManager", Pages)
        patch.setattr(PagesManager, "uses_pages_directory", False)
        yield


@pytest.fixture(scope="session", autouse=True)
def app_with_navigation() -> Iterator[None]:
    with as_a_server():
        yield


class App:
    """The app as one user has it: `tester` for the widgets, `workspace` for what came of them."""

    def __init__(self, **address: str) -> None:
        self.tester = AppTest.from_file(str(APP), default_timeout=SECONDS)
        for name, value in address.items():
            self.tester.query_params[name] = value
        self.tester.run()
        self.settle()

    @property
    def workspace(self) -> Workspace:
        found = workspaces().find(self.tester.session_state["workspace"])
        assert found is not None
        return found

    def settle(self) -> App:
        """Wait until nothing runs any more, then draw the page again."""
        run = self.workspace.run
        if run is not None:
            assert run.wait(SECONDS)
            self.tester.run()
        assert self.workspace.run is None
        return self

    def set(self, kind: str, key: str, value: object) -> App:
        """Give a widget a value, as a user would."""
        getattr(self.tester, kind)(key=key).set_value(value).run()
        return self.settle()

    def ask(self, **typed: str) -> App:
        """Type target or contrast of the question that all pages answer."""
        for side, text in typed.items():
            self.set("text_input", f"question_{side}_{self.workspace.asked.n}", text)
        return self

    def type_model(self, text: str, settle: bool = True) -> App:
        """Type something into the Model box that is not on its list."""
        box = self.tester.selectbox(key="model")
        # the tester knows what is on offer only; a browser sends the text just so
        box.options.append(text)
        box.set_value(text).run()
        return self.settle() if settle else self

    def pick(self, key: str, index: int) -> App:
        """Choose the index-th option of a select box."""
        self.tester.selectbox(key=key).select_index(index).run()
        return self.settle()

    def click(self, key: str) -> App:
        self.tester.button(key=key).click().run()
        return self.settle()

    def html(self) -> str:
        """All that the page says through its own HTML."""
        return "\n".join(element.proto.body for element in self.tester.get("html"))

    def components(self) -> list[str]:
        """Names of the mounted components."""
        return [element.proto.component_name for element in self.tester.get("bidi_component")]

    def picture(self) -> dict[str, Any]:
        """The header of what the heatmap is given."""
        found = next(e.proto for e in self.tester.get("bidi_component") if e.proto.component_name == "intravisto_grid")
        (length,) = struct.unpack_from("<I", found.bytes)
        header: dict[str, Any] = json.loads(found.bytes[4 : 4 + length])
        return header

    def panel(self, key: str) -> dict[str, Any]:
        """What the part of the panel under that key is given."""
        found = [e.proto for e in self.tester.get("bidi_component") if e.proto.id.endswith(f"-{key}")]
        data: dict[str, Any] = json.loads(found[-1].json)
        return data

    def assert_calm(self) -> None:
        """No stack trace, nothing in the error box, no picture replaced by a message."""
        assert not self.tester.exception
        assert self.workspace.problem is None
        assert "box inline" not in self.html(), self.html()


@pytest.fixture
def open_app() -> Iterator[Callable[..., App]]:
    """Opens the app for a new user; everything of it is let go after the test."""
    opened: list[App] = []

    def one(**address: str) -> App:
        opened.append(App(**address))
        return opened[-1]

    yield one
    for app in opened:
        app.workspace.close()


@pytest.fixture
def app(open_app: Callable[..., App]) -> App:
    """The app as a newcomer sees it, its first picture drawn."""
    return open_app()
