"""A heatmap that is drawn before all of it is decoded: what comes first, what follows, what waits for the whole."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import count

import pytest

from intravisto_core.sites import Colour
from intravisto_core.views import tiles
from intravisto_ui.heatmap import export, options, picture
from intravisto_ui.parts import export_menu
from tests.pages.conftest import App

WIDTH = 4
# what was decoded of a text once is there for every run of it: each test has a text of its own
TEXTS = (f"{n} " + "one two three four five six seven eight nine ten " * 4 for n in count(11))


@pytest.fixture
def growing(open_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch) -> App:
    """The app over a long text, whose tiles are narrow and whose patience is short: a tile a drawing."""
    monkeypatch.setattr(tiles, "count_tile_positions", lambda rows, d_vocab: WIDTH)
    monkeypatch.setattr(picture, "FIRST_S", 0.0)
    monkeypatch.setattr(picture, "MORE_S", 0.0)
    app = open_app()
    app.set("text_area", "prompt", next(TEXTS)).set("number_input", "max_new_tokens", 0).click("run")
    app.assert_calm()
    return app


def awaited(app: App) -> set[int]:
    header = app.picture()
    return {header["columns"][i]["position"] for i in header["awaited"]}


def known(app: App) -> set[int]:
    return {column["position"] for column in app.picture()["columns"]} - awaited(app)


def ask(app: App, first: int, last: int) -> set[int]:
    """What the browser asks when it has drawn what came; the positions that the answer brings."""
    before = known(app)
    app.workspace.look_at({"first": first, "last": last})
    app.tester.run()
    return known(app) - before


def test_the_columns_at_the_answer_come_first(growing: App) -> None:
    trace = growing.workspace.shown.trace
    last = trace.prompt_length - 1
    tile = last // WIDTH
    assert known(growing) == set(range(tile * WIDTH, min(len(trace.tokens), (tile + 1) * WIDTH)))
    assert growing.workspace.known is not None


def test_what_is_looked_at_comes_next_until_all_is_there(growing: App) -> None:
    n = len(growing.workspace.shown.trace.tokens)
    assert ask(growing, 8, 11) == {8, 9, 10, 11}
    growing.tester.run()
    assert len(known(growing) & {4, 5, 6, 7}) == 0, "a drawing that was not asked for brings nothing"
    assert ask(growing, 8, 11) == {4, 5, 6, 7}, "then what is nearest"
    for _ in range(n):
        ask(growing, 0, 3)
    assert awaited(growing) == set()
    assert growing.workspace.known is None
    growing.assert_calm()


def test_another_trace_begins_anew(growing: App) -> None:
    ask(growing, 0, 3)
    growing.set("text_area", "prompt", next(TEXTS)).click("run")
    last = growing.workspace.shown.trace.prompt_length - 1
    assert growing.workspace.sight is None
    assert last in known(growing)


def test_find_looks_in_what_is_there_and_says_so(growing: App) -> None:
    growing.set("text_input", "wanted", "id 300").set("number_input", "find_k", 30)
    n, total = len(known(growing)), len(growing.workspace.shown.trace.tokens)
    assert f"of {n} positions looked at so far, of {total}" in growing.html()
    found = {mark["position"] for mark in growing.picture()["marks"] if mark["kind"] == "found"}
    assert found <= known(growing)


def test_a_colour_that_follows_a_token_grows_too(growing: App) -> None:
    growing.set("selectbox", "colour", Colour.PROBABILITY)
    assert awaited(growing)
    for _ in range(len(growing.workspace.shown.trace.tokens)):
        ask(growing, 0, 3)
    assert awaited(growing) == set()
    growing.assert_calm()


def test_a_file_holds_the_whole(growing: App, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, given = [], []
    draw = options.draw
    monkeypatch.setattr(options, "draw", lambda *a: chosen.append(draw(*a)) or chosen[-1])
    growing.tester.run()
    here = growing.workspace
    monkeypatch.setattr(export_menu, "draw_menu", lambda _, *rest, **how: given.append(rest))
    export.draw_menu(None, here, here.shown, chosen[-1])
    shown, session, view, _, _, page_options, _ = given[0]
    table = export_menu.render_file(shown, session, view, export_menu.FileKind.CSV, page_options).decode("utf-8-sig")
    positions = {int(line["position"]) for line in csv.DictReader(table.splitlines())}
    assert positions == set(range(len(shown.trace.tokens)))
    assert awaited(growing), "the picture itself went on growing by itself"
