"""The parts of the selected cell's panel, and colours that follow a token."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intravisto_core.figures.numbers import share
from intravisto_core.request import CellSharesView, Generation, HeatmapView, NextTokensView, UpdateView
from intravisto_core.sites import Colour, Component, Lens, Reading, ShareMeasure
from intravisto_ui.heatmap import cell_parts
from tests.pages.conftest import App


def select(app: App, row: int, position: int) -> App:
    app.workspace.select({"row": row, "position": position, "rev": app.workspace.shown.trace.id, "n": 50})
    app.tester.run()
    return app


def lists(app: App) -> list[dict[str, Any]]:
    """The lists of tokens in the lower part of the panel."""
    found = [json.loads(e.proto.json) for e in app.tester.get("bidi_component") if e.proto.json]
    with_lists = [data["lists"] for data in found if isinstance(data, dict) and data.get("lists")]
    return with_lists[-1]


@pytest.mark.parametrize("part", [Component.ATTENTION, Component.MLP])
def test_what_a_part_wrote(app: App, part: Component) -> None:
    select(app, 5, 11).set("segmented_control", "cell_part", str(part)).assert_calm()
    shown = app.workspace.shown
    told = shown.engine.view(UpdateView(shown.trace.id, part, 5, 11, order="angle"), session=app.workspace.id)
    up, down = lists(app)
    assert [e["id"] for e in up["entries"]] == told.promoted_ids.tolist()
    assert [e["id"] for e in down["entries"]] == told.suppressed_ids.tolist()


def test_shares_by_every_measure(app: App) -> None:
    select(app, 3, 8).set("segmented_control", "cell_part", "shares").assert_calm()
    shown = app.workspace.shown
    told = shown.engine.view(CellSharesView(shown.trace.id, 3, 8), session=app.workspace.id)
    table = cell_parts.shares_table(told)
    assert table in app.html()
    for i, measure in enumerate(("norm", "KL", "KL pair", "projection", "L1 proximity")):
        row = re.search(f">{measure}</th>(.*?)</tr>", table)[1]
        of_both = [share(float(told.attention[i])), share(float(told.mlp[i]))]
        assert re.findall("<td[^>]*>(.*?)</td>", row) == of_both
        assert f"the stream before it: {share(float(told.residual_mlp[i]))}" in row
    assert table.index(">attention<") < table.index(">MLP<")


def test_why_a_share_is_missing_stays_literal(case: Any) -> None:
    told = replace(case("llama").trace.cell_shares(2, 3), missing={ShareMeasure.KL: "<i>"})
    assert 'title="&lt;i&gt;"' in cell_parts.shares_table(told)


@pytest.mark.parametrize("part", ["attention", "mlp", "shares"])
@pytest.mark.parametrize("row", [0, 7])
def test_rows_that_no_layer_writes_say_so(app: App, part: str, row: int) -> None:
    select(app, row, 4).set("segmented_control", "cell_part", part).assert_calm()
    assert "No layer writes at this row" in app.html()


def test_sampling_is_tried_without_a_run(app: App) -> None:
    select(app, 7, 8).set("segmented_control", "cell_part", "sampling")
    trace = app.workspace.shown.trace.id
    app.set("slider", "try_temperature", 2.0).set("number_input", "try_top_k", 3).assert_calm()
    asked = NextTokensView(trace, 8, Generation(temperature=2.0, top_k=3), 12)
    told = app.workspace.shown.engine.view(asked, session=app.workspace.id)
    (listed,) = lists(app)
    np.testing.assert_allclose([e["value"] for e in listed["entries"]], told.sampled, rtol=1e-6)
    assert "After position 8. 3 tokens can be drawn." in app.html(), "those listed are all"
    app.set("number_input", "try_top_k", 0).set("slider", "try_temperature", 3.0).assert_calm()
    told = app.workspace.shown.trace.next_tokens(8, 12, temperature=3.0)
    assert f"have {100 * told.sampled.sum():.1f}\u00a0% together" in app.html()
    app.set("slider", "try_top_p", 0.5).assert_calm()
    told = app.workspace.shown.trace.next_tokens(8, 12, temperature=3.0, top_p=0.5)
    assert f"{told.n_left:,} token" in app.html()
    assert app.workspace.shown.trace.id == trace


def test_the_panel_reads_the_cell_as_the_picture_does(app: App) -> None:
    """Lens and listing are the chosen ones; what attention and MLP wrote, and their shares, are of the same cell."""
    shown = select(app, 5, 8).workspace.shown
    app.set("selectbox", "lens", Lens.INPUT).set("selectbox", "reading", Reading.ITERATIVE)
    app.set("selectbox", "measure", ShareMeasure.KL).assert_calm()
    cell = HeatmapView(shown.trace.id, rows=(5,), positions=(8,), top_k=8)

    def first(view: HeatmapView, n: int) -> list[str]:
        grid = shown.engine.view(view, session=app.workspace.id)
        return [grid.shown[int(i)] for i in grid.token_ids[0, 0, :n] if i >= 0]

    own = replace(cell, lens=Lens.INPUT, reading=Reading.ITERATIVE)
    assert [e["token"] for e in app.panel("panel")["lists"][0]["entries"]] == first(own, 8)
    parts = app.panel("panel_parts")
    for wrote, component in zip(parts["writes"], (Component.ATTENTION, Component.MLP), strict=True):
        assert wrote["tokens"] == first(replace(cell, component=component, order="angle"), 3)
    shares = shown.trace.shares("kl")
    drawn = [part["share"] for junction in parts["junctions"] for part in junction["parts"] if part["name"] != "stream"]
    np.testing.assert_allclose(drawn, [shares.attention[4, 8], shares.mlp[4, 8]], rtol=1e-5)


def test_a_followed_token_is_the_answer_until_one_is_typed(app: App) -> None:
    app.set("selectbox", "colour", Colour.RANK).assert_calm()
    answer = app.workspace.shown.trace.tokens[app.workspace.shown.trace.prompt_length]
    assert app.picture()["colourName"] == f"rank of {answer.shown}"
    app.ask(target="Paris").assert_calm()
    first = app.workspace.shown.engine.tokenize("Paris", add_special_tokens=False)[0]
    assert f"id {first.id:,}" in app.html()
    app.click("question_target_space").assert_calm()
    assert app.tester.text_input(key=f"question_target_{app.workspace.asked.n}").value == " Paris"
    assert app.picture()["colourName"] == "rank of ␣Paris"


def test_what_is_typed_stays_literal(app: App) -> None:
    app.set("selectbox", "colour", Colour.PROBABILITY).ask(target="<b>&lt;").assert_calm()
    assert '<span class="tk">&lt;' in app.html()
    assert '<span class="tk"><' not in app.html()


def test_help_opens_with_a_tab_a_subject(app: App) -> None:
    app.click("help_menu").assert_calm()
    assert [tab.label for tab in app.tester.tabs] == ["The picture", "The colours", "The cell"]


def test_a_large_picture_offers_to_leave_some_out(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "A large picture" not in app.html()
    monkeypatch.setattr("intravisto_ui.heatmap.options.MANY_POSITIONS", 10)
    app.tester.run()
    assert "A large picture" in app.html()
    app.set("number_input", "position_step", 3)
    assert "A large picture" not in app.html()
