"""The chart of followed tokens, and which tokens are followed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intravisto_core.records import Watched
from intravisto_core.request import HeatmapView
from intravisto_ui.heatmap import trajectory
from tests.pages.conftest import App
from tests.pages.test_cell_detail import select


def lines(app: App) -> dict[str, list[float]]:
    """Heights of the drawn lines, by the name in the legend."""
    (chart,) = app.tester.get("plotly_chart")
    drawn = json.loads(chart.proto.spec)["data"]
    return {line["name"]: np.array(trace_y(line["y"])).tolist() for line in drawn}


def trace_y(y: object) -> object:
    """Plotly writes arrays in binary."""
    from base64 import b64decode

    return np.frombuffer(b64decode(y["bdata"]), np.dtype(y["dtype"])) if isinstance(y, dict) else y


def followed(app: App, position: int, *ids: int) -> list[np.ndarray]:
    shown = app.workspace.shown
    view = HeatmapView(shown.trace.id, positions=(position,), watch=ids)
    return list(shown.engine.view(view, session=app.workspace.id).watch)


def test_what_the_text_goes_on_with_and_the_cells_top_two_are_drawn(app: App) -> None:
    select(app, 3, 8)
    shown = app.workspace.shown
    grid = shown.engine.view(HeatmapView(shown.trace.id, rows=(3,), positions=(8,)), session=app.workspace.id)
    ids = [shown.trace.tokens[9].id, *grid.token_ids[0, 0, :2].tolist()]
    assert list(trajectory.choose_pins(app.workspace, app.workspace.shown, grid, 8)) == list(dict.fromkeys(ids))
    watched = followed(app, 8, *dict.fromkeys(ids))
    drawn = lines(app)
    assert list(drawn) == [trajectory.escape_for_plotly(w.shown) for w in watched]
    for w in watched:
        np.testing.assert_allclose(drawn[trajectory.escape_for_plotly(w.shown)], w.probability[:, 0], rtol=1e-6)
    app.set("segmented_control", "line_scale", "rank").assert_calm()
    ranked = lines(app)
    for w in watched:
        assert ranked[trajectory.escape_for_plotly(w.shown)] == w.rank[:, 0].tolist()


def test_a_token_is_put_into_the_chart_and_taken_out_again(app: App) -> None:
    select(app, 3, 8)
    here = app.workspace
    first = [here.shown.trace.tokens[9].id]
    trajectory.toggle_pin(here, 8, first, 300)
    assert here.pins[8] == [*first, 300]
    app.tester.run()
    assert len(lines(app)) == 2
    trajectory.toggle_pin(here, 8, here.pins[8], first[0])
    assert here.pins[8] == [300]
    for id in range(301, 310):
        trajectory.toggle_pin(here, 8, here.pins[8], id)
    assert here.pins[8] == list(range(310 - trajectory.MOST, 310)), "the oldest make room"
    select(app, 3, 9)
    assert here.pins.keys() == {8}, "another position has lines of its own"
    app.click("run").assert_calm()
    assert not here.pins, "another text too"


def test_the_row_that_is_looked_at_is_marked() -> None:
    figure = trajectory.build_chart([], ["embeddings", "layer 0", "layer 1", "final norm"], 2, "rank", "light")
    assert figure.layout.shapes[0].x0 == 2
    assert figure.layout.xaxis.ticktext == ("emb", "0", "1", "norm")


@pytest.mark.parametrize(("raw", "shown"), [("<b>", "&lt;b&gt;"), ("$x$", "&#36;x&#36;")])
def test_names_stay_literal(raw: str, shown: str) -> None:
    assert trajectory.escape_for_plotly(raw) == shown


def test_a_probability_just_below_1_is_not_told_as_certain() -> None:
    p = np.array([[0.9995], [0.9996], [0.5]], np.float32)
    watched = Watched("x", 3, 1, "x", p, np.zeros((3, 1), np.float32), np.ones((3, 1), np.int64))
    labels = ["embeddings", "layer 0", "final norm"]
    (line,) = trajectory.build_chart([(watched, "#000000")], labels, 0, "probability", "light").data
    assert [words for _, words, _ in line.customdata] == ["99.9\u00a0%", ">99.9\u00a0%", "50.0\u00a0%"]
