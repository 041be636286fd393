"""Every option of the heatmap draws, and none of them runs the model again."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from intravisto_core.request import HeatmapView, Span
from intravisto_core.sites import Colour, Component, Lens, NormPolicy, Reading, ShareMeasure
from intravisto_ui.heatmap import options
from tests.pages.conftest import App

BOXES = ("lens", "colour", "norm", "reading")
# of all components alike
SHARED_BOXES = ("measure", "scale")


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[options.Options]:
    """What the page asked to see, one entry a drawing."""
    seen: list[options.Options] = []
    draw = options.draw

    def noted(*given: object) -> options.Options:
        seen.append(draw(*given))
        return seen[-1]

    monkeypatch.setattr(options, "draw", noted)
    return seen


@pytest.mark.parametrize("component", list(Component))
def test_every_option_draws_from_the_same_trace(app: App, component: Component) -> None:
    trace = app.workspace.shown.trace.id
    app.set("selectbox", "component", component)
    for key in BOXES + SHARED_BOXES * (component is Component.BLOCK):
        for index in reversed(range(len(app.tester.selectbox(key=key).options))):
            app.pick(key, index).assert_calm()
    assert app.workspace.shown.trace.id == trace
    assert app.workspace.run is None


def test_sliders_choose_rows_and_positions(app: App, views: list[options.Options]) -> None:
    n = len(app.workspace.shown.trace.tokens)
    app.set("select_slider", "rows_6", (2, 5)).set("select_slider", f"positions_{n}", (1, 4))
    assert views[-1].view.rows == Span(2, 6)
    assert views[-1].view.positions == Span(1, 5)
    app.assert_calm()


def test_stride_keeps_the_last(app: App, views: list[options.Options]) -> None:
    app.set("number_input", "row_step", 3)
    assert views[-1].view.rows == (1, 4, 7)
    app.set("number_input", "row_step", 7)
    assert views[-1].view.rows == (0, 7), "and the first where it is one of them"
    app.assert_calm()


def test_the_picture_is_drawn_as_chosen(app: App) -> None:
    plain = app.picture()
    assert (plain["colourName"], plain["scale"], plain["log"], plain["textSize"]) == (
        "top probability",
        "residual",
        False,
        13.0,
    )
    app.set("selectbox", "colour", Colour.ENTROPY).set("selectbox", "scale", "cividis")
    app.set("toggle", "log_scale", True).set("selectbox", "text_size", "large").assert_calm()
    drawn = app.picture()
    assert (drawn["colourName"], drawn["scale"], drawn["log"], drawn["textSize"]) == ("entropy", "cividis", True, 16.0)
    assert drawn["rev"] == app.workspace.shown.trace.id
    app.set("text_input", "wanted", '" Rome"')
    assert {mark["kind"] for mark in app.picture()["marks"]} == {"found"}, "another mark is another picture"


def test_ignoring_position_0_tells_how_much_it_hides(app: App, views: list[options.Options]) -> None:
    n = len(app.workspace.shown.trace.tokens)
    app.set("toggle", "hide_first", True)
    assert views[-1].view.positions == Span(1, n)
    assert f"1 of {n} positions" in app.html()


def test_updates_are_coloured_by_logit_and_have_no_max_probability(app: App, views: list[options.Options]) -> None:
    app.set("selectbox", "lens", Lens.MAX).set("selectbox", "component", Component.ATTENTION)
    app.assert_calm()
    assert views[-1].colour is Colour.LOGIT
    assert views[-1].view.lens is Lens.OUTPUT
    assert Lens.MAX.label not in app.tester.selectbox(key="lens").options
    assert "not offered for updates" in app.tester.selectbox(key="lens").help


@pytest.mark.parametrize(
    ("component", "norm", "reading", "update"),
    [
        (Component.BLOCK, None, Reading.TOP, False),
        (Component.MLP, None, Reading.TOP, True),
        (Component.MLP, NormPolicy.FINAL, Reading.TOP, False),
        (Component.BLOCK, NormPolicy.STREAM, Reading.TOP, True),
        (Component.BLOCK, None, Reading.DIFFERENCE, True),
    ],
)
def test_what_counts_as_an_update(
    component: Component, norm: NormPolicy | None, reading: Reading, update: bool
) -> None:
    assert options.is_update(component, Lens.OUTPUT, norm, reading) is update


def test_selected_cell_is_told_in_words_and_in_the_panel(app: App) -> None:
    trace = app.workspace.shown.trace
    app.workspace.select({"row": 3, "position": 2, "rev": trace.id, "n": 7})
    app.tester.run()
    app.assert_calm()
    assert "layer 2 · position 2" in app.html()
    app.workspace.select({"row": None, "position": None, "rev": trace.id, "n": 8})
    app.tester.run()
    assert "No cell selected" in app.html()


@pytest.mark.parametrize("stale", [{"rev": "another trace", "n": 99}, {"n": -1}])
def test_a_selection_of_another_trace_or_an_older_one_is_dropped(app: App, stale: dict[str, object]) -> None:
    before = app.workspace.selection
    app.workspace.select({"row": 1, "position": 1, "rev": app.workspace.shown.trace.id, **stale})
    assert app.workspace.selection == before


def test_copied_python_makes_the_same_picture(app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    app.set("selectbox", "component", Component.MLP).set("selectbox", "lens", Lens.LINEAR)
    names: dict[str, object] = {}
    exec(python_of(app), names)
    shown = app.workspace.shown
    view = HeatmapView(shown.trace.id, Component.MLP, Lens.LINEAR, order="angle")
    assert (names["grid"].token_ids == shown.engine.view(view, session=app.workspace.id).token_ids).all()
    assert (tmp_path / "heatmap.html").stat().st_size > 10_000


def python_of(app: App) -> str:
    return next(block.value for block in app.tester.code if "open_model" in block.value)


def test_copied_python_has_colour_scale_and_the_followed_token(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    app.set("selectbox", "colour", Colour.RANK).ask(target=" Paris")
    app.set("selectbox", "scale", "cividis").set("toggle", "clip", True).set("selectbox", "measure", ShareMeasure.KL)
    names: dict[str, object] = {}
    exec(python_of(app), names)
    assert names["grid"].watch[0].shown == "␣Paris"
    page = (tmp_path / "heatmap.html").read_text("utf-8")
    payload = base64.b64decode(re.search(r'atob\("([^"]+)"\)', page)[1])
    for word in ("rank of ␣Paris", "cividis", "≥ "):
        assert word.encode() in payload
