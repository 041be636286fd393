"""Before the libraries are there: the picture comes from a file, answers clicks, and gives way to the model's run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import intravisto_core as iv
from intravisto_core.engine import SavedEngine
from intravisto_ui.first_run import show
from intravisto_ui.session import libraries
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.session.workspaces import workspaces
from tests.pages.conftest import APP, SECONDS

ROOT = Path(__file__).parents[2]


class NotYet(libraries.Libraries):
    """Libraries that load when the test says so."""

    there = False

    def are_loaded(self) -> bool:
        return self.there

    def start(self) -> None:
        pass


@pytest.fixture
def not_yet(monkeypatch: pytest.MonkeyPatch) -> NotYet:
    found = NotYet()
    monkeypatch.setattr(libraries, "_libraries", found)
    return found


def workspace_of(tester: AppTest) -> Workspace:
    found = workspaces().find(tester.session_state["workspace"])
    assert found is not None
    return found


def words(tester: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in tester.get("html"))


def test_the_picture_is_there_before_the_libraries(not_yet: NotYet) -> None:
    tester = AppTest.from_file(str(APP), default_timeout=SECONDS).run()
    workspace = workspace_of(tester)
    assert workspace.shows_saved
    assert workspace.run is None
    assert "Loading the libraries" in words(tester)
    assert "in a moment" not in words(tester), "the first page asks for something that the file does not hold"
    assert any(each.key == "grid" for each in tester.get("bidi_component"))
    # any cell has its panel
    workspace.select_cell(2, 5)
    tester.run()
    assert not tester.exception
    assert "layer 1 · position 5" in words(tester)
    # then the model takes over, and what was selected stays
    not_yet.there = True
    tester.run()
    if workspace.run is not None:
        assert workspace.run.wait(SECONDS)
        tester.run()
    assert not workspace.shows_saved
    assert (workspace.selection.row, workspace.selection.position) == (2, 5)
    assert len(workspace.past) == 1


def test_what_the_file_does_not_hold_says_that_it_comes(not_yet: NotYet) -> None:
    tester = AppTest.from_file(str(APP), default_timeout=SECONDS).run()
    tester.selectbox(key="lens").set_value(iv.Lens.LINEAR).run()
    assert not tester.exception
    assert "This comes in a moment" in words(tester)


def test_another_first_prompt_waits_for_the_model(not_yet: NotYet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "SPEC", iv.ModelSpec("another"))
    monkeypatch.setenv("INTRAVISTO_PUBLIC", "1")
    tester = AppTest.from_file(str(APP), default_timeout=SECONDS).run()
    assert workspace_of(tester).base is None
    assert not tester.exception


@pytest.mark.parametrize(("offered", "shown"), [(["demo", "other"], True), (["other", "demo"], False), ([], False)])
def test_the_picture_is_of_the_model_that_a_service_begins_with(
    not_yet: NotYet, monkeypatch: pytest.MonkeyPatch, offered: list[str], shown: bool
) -> None:
    monkeypatch.setattr(show, "list_offered", lambda: tuple(iv.ModelSpec(name) for name in offered))
    tester = AppTest.from_file(str(APP), default_timeout=SECONDS).run()
    assert workspace_of(tester).shows_saved == shown
    assert ("This picture is a saved run of it" in words(tester)) == shown
    assert ("Opening the model" in words(tester)) == (not shown)
    assert "press Run" not in words(tester)
    assert "Loading the libraries" in words(tester)


def test_the_file_is_of_the_model_and_the_views_of_today() -> None:
    """Renew it by `python -m tests.pages.make_first_run`."""
    saved = show.read_run()
    assert saved is not None
    assert isinstance(saved.engine, SavedEngine)
    engine = iv.open_model("demo")
    try:
        assert dict(engine.identity) == saved.engine.identity
        trace = engine.submit(saved.request).result()
        assert trace.tokens == saved.tokens
        for component in ("block", "attention", "mlp"):
            had, now = (each.heatmap(component, top_k=8) for each in (saved, trace))
            np.testing.assert_array_equal(had.token_ids[:, :, 0], now.token_ids[:, :, 0])
            np.testing.assert_allclose(had.logits, now.logits, atol=2e-4)
    finally:
        engine.close()


IMPORTS = "import sys, intravisto_ui.first_run.show, intravisto_ui.heatmap.page; print('torch' in sys.modules)"


def test_the_first_page_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "False", done.stderr[-1500:]
