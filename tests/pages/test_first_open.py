"""What a newcomer sees, and what stays over pages and reloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from intravisto_core.sites import Lens
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.sidebar.examples import DEFAULT
from tests.pages.conftest import App


def test_first_open_shows_the_traced_default_prompt(app: App) -> None:
    app.assert_calm()
    assert {"intravisto_grid", "intravisto_strip", "intravisto_panel"} <= set(app.components())
    shown = app.workspace.shown
    assert shown is not None
    assert shown.request.prompt == DEFAULT.prompt
    made = len(shown.trace.tokens) - shown.trace.prompt_length
    assert 0 < made <= DEFAULT.max_new_tokens
    assert "Done" in app.html()


def test_first_selection_is_where_the_answer_is_said(app: App) -> None:
    shown, place = app.workspace.shown, app.workspace.selection
    assert shown is not None
    assert (place.row, place.position) == (shown.engine.model.n_layers + 1, shown.trace.prompt_length - 1)


def test_address_names_the_workspace_and_never_the_prompt(app: App) -> None:
    app.set("text_area", "prompt", "a secret wish").click("run")
    address = {k: v[0] if isinstance(v, list) else v for k, v in app.tester.query_params.items()}
    assert address == {"w": app.workspace.id}


def test_reload_finds_the_workspace_again(app: App, open_app: Callable[..., App]) -> None:
    app.set("selectbox", "lens", Lens.LINEAR).set("number_input", "max_new_tokens", 3)
    again = open_app(w=app.workspace.id)
    assert again.workspace is app.workspace
    assert again.tester.text_area(key="prompt").value == DEFAULT.prompt
    assert again.tester.number_input(key="max_new_tokens").value == 3
    assert str(again.tester.selectbox(key="lens").value) == "linear"
    again.assert_calm()


def test_unknown_workspace_opens_a_new_one_with_the_options_of_the_address(open_app: Callable[..., App]) -> None:
    app = open_app(
        w="long-gone", lens="input", colour="entropy", component="nonsense", measure="l1", reading="iterative"
    )
    assert app.workspace.id != "long-gone"
    assert "no longer kept" in app.workspace.notice
    assert str(app.tester.selectbox(key="lens").value) == "input"
    assert str(app.tester.selectbox(key="colour").value) == "entropy"
    assert str(app.tester.selectbox(key="component").value) == "block"
    assert str(app.tester.selectbox(key="measure").value) == "l1"
    assert str(app.tester.selectbox(key="reading").value) == "iterative"
    address = {k: v[0] if isinstance(v, list) else v for k, v in app.tester.query_params.items()}
    del address["w"]
    assert address == {"lens": "input", "colour": "entropy", "measure": "l1", "reading": "iterative"}
    app.click("dismiss")
    assert not app.workspace.notice


def test_a_copy_opens_at_the_same_place(app: App) -> None:
    app.workspace.select({"row": 3, "position": 2, "rev": app.workspace.shown.trace.id, "n": 5})
    copy = Workspace("copy")
    app.workspace.copy_into(copy)
    shown = app.workspace.shown
    copy._show(shown)
    assert (copy.selection.row, copy.selection.position) == (3, 2)
    copy._show(shown)
    assert (copy.selection.row, copy.selection.position) == (7, shown.trace.prompt_length - 1), "the first run only"
    app.workspace.selection = replace(app.workspace.selection, position=len(shown.trace.tokens))
    app.workspace.copy_into(copy)
    copy._show(shown)
    assert copy.selection.row == 7, "a place that is not there"


def test_two_users_do_not_share(app: App, open_app: Callable[..., App]) -> None:
    other = open_app()
    app.set("text_area", "prompt", "1 2 3").click("run")
    assert other.workspace is not app.workspace
    assert other.workspace.shown is not None
    assert other.workspace.shown.request.prompt == DEFAULT.prompt


def test_page_switch_and_back_keeps_what_was_chosen(app: App) -> None:
    app.set("selectbox", "lens", Lens.LINEAR).set("select_slider", "rows_6", (2, 5))
    trace = app.workspace.shown.trace.id
    app.tester.switch_page("pages/model.py").run()
    app.assert_calm()
    assert "stream adds up" in app.html()
    assert "bit-equal" in app.html()
    assert any("torch" in code.value for code in app.tester.code)
    app.tester.switch_page("pages/heatmap.py").run()
    app.assert_calm()
    assert str(app.tester.selectbox(key="lens").value) == "linear"
    assert app.tester.select_slider(key="rows_6").value == (2, 5)
    assert app.workspace.shown.trace.id == trace


def test_diagnostics_hold_no_prompt(app: App) -> None:
    app.tester.switch_page("pages/model.py").run()
    assert all("capital of Italy" not in code.value for code in app.tester.code)
