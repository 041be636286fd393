"""Earlier runs of a workspace, and what is left of a run whose model was put away."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from intravisto_core.request import Generation, ModelSpec, TraceRequest
from intravisto_ui.session.pool import pool
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar import generation, model_choice
from tests.pages.conftest import App


def test_the_options_of_a_conversation_ask_for_it_again() -> None:
    said = (("system", "Be brief."), ("user", "a"), ("assistant", "b"))
    asked = TraceRequest("c", chat=True, messages=said)
    here = Workspace("id")
    here.engine = SimpleNamespace(model=SimpleNamespace(chat=True))
    here.options.update(generation.read_options(asked))
    assert generation.build_request(here) == asked


@pytest.mark.parametrize(
    "asked",
    [
        TraceRequest("a"),
        TraceRequest("a", Generation(7), add_special_tokens=False),
        TraceRequest("a\n", Generation(7, 0.7, 5, 0.9, 3, ("x", "y\n"), "then")),
        TraceRequest("a", Generation(7, 1.0, seed=4)),
    ],
)
def test_the_options_of_a_run_ask_for_it_again(asked: TraceRequest) -> None:
    here = Workspace("id")
    here.options.update(generation.read_options(asked))
    assert generation.build_request(here) == asked


@pytest.mark.parametrize("spec", [ModelSpec("demo"), ModelSpec("/models/one", dtype="bfloat16", device_map="cpu")])
def test_the_options_of_a_model_ask_for_it_again(spec: ModelSpec) -> None:
    here = Workspace("id")
    here.options.update(model_choice.read_options(spec))
    assert model_choice.build_spec(here) == spec


def test_an_earlier_run_comes_back_at_once_with_its_settings(app: App) -> None:
    first = app.workspace.shown
    app.tester.text_area(key="prompt").set_value("1 2 *3*").run()
    app.set("number_input", "max_new_tokens", 2)
    app.tester.segmented_control(key="decoding").set_value("sample").run()
    app.set("toggle", "add_special_tokens", False).click("run").assert_calm()
    second = app.workspace.shown
    assert [p.trace.id for p in app.workspace.past] == [second.trace.id, first.trace.id]
    labels = [app.tester.button(key=f"recent{i}").label for i in range(2)]
    assert labels[0].startswith(r"1 2 \*3\*")
    assert "2 tokens, sampled" in labels[0]
    assert [label.endswith("shown now") for label in labels] == [True, False]
    app.click("recent1").assert_calm()
    assert app.workspace.shown.trace.id == first.trace.id, "nothing was run"
    assert "Done" in app.html()
    assert app.tester.text_area(key="prompt").value == first.request.prompt
    again = [app.tester.button(key=f"recent{i}").label for i in range(2)]
    assert [label[:20] for label in again] == [label[:20] for label in labels], "the list keeps its order"
    assert [label.endswith("shown now") for label in again] == [False, True]
    app.click("recent0").assert_calm()
    assert app.workspace.shown.trace.id == second.trace.id
    assert generation.build_request(app.workspace) == second.request


def test_the_same_run_twice_is_listed_once(app: App) -> None:
    app.click("run").assert_calm()
    assert len(app.workspace.past) == 1


def test_a_model_that_was_put_away_is_told_and_opened_again(open_app: Callable[..., App]) -> None:
    app = open_app()
    spec = app.workspace.spec
    pool().release(spec, app.workspace.id)
    for other in list(pool()._places[spec].leases):
        pool().release(spec, other)
    assert spec in pool().drop_idle()
    app.tester.run()
    app.settle()
    assert not app.tester.exception
    assert "The model was put away" in app.html()
    assert "intravisto_grid" in app.components(), "the old picture stays"
    old = app.workspace.shown.trace.id
    app.click("recent0" if len(app.workspace.past) > 1 else "run").assert_calm()
    assert app.workspace.shown.trace.id != old
    assert "put away" not in app.html()
