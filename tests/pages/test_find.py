"""The find box: places and tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st

from intravisto_core.errors import RequestError
from intravisto_core.records import TokenQuery, row_label
from intravisto_core.request import HeatmapView
from intravisto_ui.heatmap import find
from tests.pages.conftest import App


@pytest.mark.parametrize(
    ("typed", "row", "position"),
    [
        ("row 5", 5, None),
        ("layer 3", 4, None),
        ("L0", 1, None),
        ("l2, p=4", 3, 4),
        ("emb", 0, None),
        ("norm p=-1", 7, 9),
        ("p 3", None, 3),
        ("position = 2", None, 2),
        ("row -1", 7, None),
        ("layer -1", 6, None),
        ("L-6", 1, None),
    ],
)
def test_places(typed: str, row: int | None, position: int | None) -> None:
    assert find.parse(typed, n_layers=6, n_positions=10, n_heads=4) == find.Wanted(row, position)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (" Rome", " Rome"),
        ('" Rome"', " Rome"),
        ("␣Rome", " Rome"),
        ('"row 5"', "row 5"),
        ("a row 5 more", "a row 5 more"),
        ("norms of", "norms of"),
        ("⏎", "\n"),
        ("id 17", 17),
        ("ID=17", 17),
        ('"id 17"', "id 17"),
        ("id 17 more", "id 17 more"),
    ],
)
def test_tokens(typed: str, text: str | int) -> None:
    wanted = find.parse(typed, n_layers=6, n_positions=10, n_heads=4)
    assert wanted.token == text
    # only a text without quotes and without a space may be meant with a space before it
    assert wanted.other == (f" {text}" if typed == text and typed[0] != " " else "")


@pytest.mark.parametrize("typed", ["row 8", "row -9", "layer 6", "layer -7", "L0H-5", "p=10", "p=-11", "L6H0", "L0H4"])
def test_places_that_are_not_there(typed: str) -> None:
    with pytest.raises(RequestError, match="expected"):
        find.parse(typed, n_layers=6, n_positions=10, n_heads=4)


def test_a_head() -> None:
    for typed in ("L2H3", "L-4H-1"):
        assert find.parse(typed, n_layers=6, n_positions=10, n_heads=4) == find.Wanted(row=3, head=3)


def test_a_head_is_shown_by_its_layer_and_says_so(app: App) -> None:
    app.set("text_input", "wanted", "L2H3").assert_calm()
    assert app.workspace.selection.row == 3
    assert find.OF_HEAD in app.html()
    assert (app.workspace.selection.head, app.workspace.selection.part) == (3, "attention.3.11")


def sought(app: App) -> TokenQuery:
    """Where the sought token comes up, as the page knows it."""
    return find._find_token(app.workspace, app.workspace.shown, app.workspace.sought)


def test_a_token_is_gone_to_where_it_first_comes_up(app: App) -> None:
    last = app.workspace.shown.trace.prompt_length - 1
    app.set("text_input", "wanted", '" Rome"').assert_calm()
    found = sought(app)
    cell = app.workspace.selection
    assert cell.row == found.first_row[cell.position] >= 0
    hits = np.flatnonzero(found.first_row >= 0)
    assert abs(cell.position - last) == abs(hits - last).min()
    far = 0 if cell.position else last
    app.set("text_input", "wanted", f"p={far}").set("text_input", "wanted", '" Rome"')
    cell = app.workspace.selection
    assert cell.row == found.first_row[cell.position] >= 0, "from elsewhere another column may be nearer"
    assert abs(cell.position - far) == abs(hits - far).min()


def test_found_cells_are_listed_with_their_writers(app: App) -> None:
    app.set("text_input", "wanted", '" Rome"').set("number_input", "find_k", 400).assert_calm()
    shown = app.workspace.shown
    found = shown.trace.query(" Rome", top_k=400)
    hits = np.flatnonzero(found.first_row >= 0)
    (table,) = app.tester.dataframe
    frame = table.value
    assert 2 < len(frame) == len(hits) < len(found.positions)
    assert f"at {len(hits)} of" in app.html()
    assert frame["position"].tolist() == hits.tolist()
    assert frame["first at"].tolist() == [row_label(int(found.first_row[p]), 6) for p in hits]
    np.testing.assert_allclose(frame["attention"], found.attention[hits], rtol=1e-5)
    np.testing.assert_allclose(frame["MLP"], found.mlp[hits], rtol=1e-5)
    assert {(m.row, m.position) for m in find.find_marks(app.workspace, app.workspace.shown)} == {
        (int(found.first_row[p]), int(p)) for p in hits
    }


def test_a_listed_cell_is_gone_to(monkeypatch: pytest.MonkeyPatch) -> None:
    here = SimpleNamespace(went=None)
    here.select_cell = lambda *cell: setattr(here, "went", cell)
    clicked = SimpleNamespace(selection=SimpleNamespace(cells=[(1, "reads")]))
    monkeypatch.setattr(find.st, "session_state", {"found": clicked})
    find._select_line(here, [(3, 4), (5, 6)])
    assert here.went == (5, 6)


def test_a_place_is_gone_to(app: App) -> None:
    app.set("text_input", "wanted", "row 3 p=-2").assert_calm()
    n = len(app.workspace.shown.trace.tokens)
    assert (app.workspace.selection.row, app.workspace.selection.position) == (3, n - 2)
    assert f"layer 2 · position {n - 2}" in app.html()


def test_a_wrong_place_says_what_there_is(app: App) -> None:
    before = app.workspace.selection
    app.set("text_input", "wanted", "row 99").assert_calm()
    assert "expected -8 to 7" in app.html()
    assert app.workspace.selection == before
    app.workspace.sought = "<b>"
    app.tester.run()
    assert '<div class="hint">&lt;b&gt;</div>' in app.html()


def test_a_token_is_marked_at_the_lowest_row_where_it_comes_up(app: App) -> None:
    shown = app.workspace.shown
    answer = shown.trace.tokens[shown.trace.prompt_length].text
    app.set("text_input", "wanted", f'"{answer}"').assert_calm()
    grid = shown.engine.view(HeatmapView(shown.trace.id, top_k=5, watch=(answer,)), session=app.workspace.id)
    inside = grid.watch[0].rank <= 5
    expected = {(int(inside[:, p].argmax()), p) for p in range(inside.shape[1]) if inside[:, p].any()}
    assert expected
    assert {(m.row, m.position) for m in find.find_marks(app.workspace, app.workspace.shown)} == expected
    app.click("find_clear").assert_calm()
    assert find.find_marks(app.workspace, app.workspace.shown) == ()


def test_what_is_sought_is_sought_in_the_next_trace_too(app: App) -> None:
    app.set("text_input", "wanted", '" Rome"').click("run").assert_calm()
    assert sought(app).trace == app.workspace.shown.trace.id


def test_another_text_begins_with_no_search_and_an_earlier_run_brings_its_own_back(app: App) -> None:
    app.set("text_input", "wanted", '" Rome"').assert_calm()
    app.set("text_area", "prompt", "The language spoken in Madrid is").click("run").assert_calm()
    assert app.workspace.sought is None
    assert app.tester.text_input(key="wanted").value == ""
    assert find.find_marks(app.workspace, app.workspace.shown) == ()
    app.click("recent1").assert_calm()
    assert sought(app).trace == app.workspace.shown.trace.id
    assert app.tester.text_input(key="wanted").value == '" Rome"'


def test_the_field_says_what_is_sought_when_the_page_comes_back(app: App) -> None:
    app.set("text_input", "wanted", "id 300").assert_calm()
    app.tester.switch_page("pages/flow.py").run()
    app.tester.switch_page("pages/heatmap.py").run()
    assert app.tester.text_input(key="wanted").value == "id 300"


def test_a_token_is_sought_by_its_id(app: App) -> None:
    app.set("text_input", "wanted", "id 300").assert_calm()
    assert app.workspace.sought.token == 300
    assert "(id 300)" in app.html()
    app.set("text_input", "wanted", "id 99999").assert_calm()
    assert "token id: expected" in app.html()


def test_the_form_that_comes_up_is_taken_and_the_other_is_offered(app: App) -> None:
    app.set("text_input", "wanted", "Rome").assert_calm()
    assert app.workspace.sought.token == " Rome", "no cell says the word without its space"
    assert app.workspace.selection.row == sought(app).first_row[app.workspace.selection.position] > 0
    app.click("find_no_space").assert_calm()
    assert app.workspace.sought.token == "Rome"
    app.click("find_space").assert_calm()
    assert app.workspace.sought.token == " Rome"
    app.set("text_input", "wanted", '"Rome"').assert_calm()
    assert app.workspace.sought.token == "Rome", "quotes say exactly what is meant"
    app.set("text_input", "wanted", "").assert_calm()
    assert find.find_marks(app.workspace, app.workspace.shown) == (), "nothing is sought any more"


def test_the_menu_closes_over_what_was_found(app: App) -> None:
    menu = app.workspace.n_found
    app.set("text_input", "wanted", "Rome").assert_calm()
    assert app.workspace.n_found > menu, "another menu, which is closed, stands there"
    menu = app.workspace.n_found
    app.set("text_input", "wanted", "row 99").assert_calm()
    assert app.workspace.n_found == menu, "what is wrong is read in the menu"


def test_a_search_that_a_newer_act_ends_goes_on_in_the_next_script(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    look, ended = find._find_token, []

    def look_later(*asked: Any, **how: Any) -> TokenQuery:
        if not ended:
            ended.append(True)
            st.rerun()
        return look(*asked, **how)

    monkeypatch.setattr(find, "_find_token", look_later)
    menu = app.workspace.n_found
    app.set("text_input", "wanted", "Rome").assert_calm()
    assert ended
    assert app.workspace.sought.token == " Rome", "of its forms the one that comes up"
    assert not app.workspace.forms
    assert app.workspace.n_found == menu + 1


def test_one_goes_from_one_cell_to_the_next(app: App) -> None:
    app.set("text_input", "wanted", '" Rome"').set("number_input", "find_k", 400).assert_calm()
    hits = [m.position for m in find.find_marks(app.workspace, app.workspace.shown)]
    app.workspace.select_cell(1, 0)
    app.tester.run()
    seen = []
    while not app.tester.button(key="find_next").disabled:
        app.click("find_next")
        seen.append(app.workspace.selection.position)
    assert seen == [p for p in hits if p > 0]
    app.click("find_previous")
    assert app.workspace.selection.position == seen[-2]
