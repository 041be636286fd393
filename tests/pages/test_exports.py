"""What the export menu of the heatmap gives is what the page shows: the run, the edits, the difference."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.figures.web import Mark
from intravisto_core.sites import Colour, Component, ShareMeasure
from intravisto_ui.heatmap import export, options
from intravisto_ui.parts import export_menu
from intravisto_ui.parts.export_menu import FileKind
from intravisto_ui.session.edit_stack import Look
from tests.pages.conftest import App
from tests.pages.test_injection import PAGE, run_edits
from tests.reference.equal import assert_close

CHOSEN: list[options.Options] = []


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes what the page's options come to, in CHOSEN."""
    draw = options.draw
    monkeypatch.setattr(options, "draw", lambda *given: CHOSEN.append(draw(*given)) or CHOSEN[-1])


def file(app: App, name: str) -> str:
    """What the button of the export menu with that file name gives."""
    given: list[tuple[Any, ...]] = []
    here = app.workspace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_menu, "draw_menu", lambda _, *rest, **_how: given.append(rest))
        export.draw_menu(None, here, here.shown, CHOSEN[-1])
    ((shown, session, view, stem, _, options, _),) = given
    own, _, kind = name.partition(".")
    assert stem == own
    return export_menu.render_file(shown, session, view, FileKind(kind), options).decode("utf-8-sig")


def python(app: App) -> str:
    """The lines that the export menu shows."""
    return "\n".join(export.write_python(app.workspace, app.workspace.shown, CHOSEN[-1]))


def payload(page: str) -> bytes:
    """What the grid of a standalone page is given."""
    return base64.b64decode(re.search(r'atob\("([^"]+)"\)', page)[1])


def test_files_hold_what_is_chosen(app: App) -> None:
    app.set("selectbox", "component", Component.MLP).set("selectbox", "colour", Colour.ATTENTION)
    app.set("selectbox", "measure", ShareMeasure.KL).set("selectbox", "scale", "viridis")
    app.set("select_slider", "rows_6", (2, 5)).set("text_input", "wanted", '" Rome"').assert_calm()
    saved = json.loads(file(app, "heatmap.json"))
    assert (saved["kind"], saved["component"], saved["rows"]) == ("DecodedGrid", "mlp", [2, 3, 4, 5])
    page = payload(file(app, "heatmap.html"))
    for word in ("attention contribution, by KL", "viridis", '"kind": "found"'):
        assert word.encode() in page
    lines = file(app, "heatmap.csv").splitlines()
    assert {line.split(",")[0] for line in lines[1:]} == set("2345")


def test_what_is_shown_of_an_edited_run_is_what_is_taken_away(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 3, (5,)))
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    app.tester.switch_page("pages/heatmap.py").run()
    app.set("select_slider", "rows_6", (4, 7))
    for look, name in ((Look.BASELINE, "heatmap"), (Look.EDITED, "heatmap"), (Look.DIFFERENCE, "difference")):
        here.edits.look = look
        app.tester.run()
        app.assert_calm()
        for key in ("colour", "reading"):
            assert app.tester.selectbox(key=key).disabled is (look == Look.DIFFERENCE)
        names: dict[str, object] = {}
        exec(python(app), names)
        record = json.loads(file(app, f"{name}.json"))
        if look == Look.DIFFERENCE:
            assert record["kind"] == "Comparison"
            assert record["rows"] == [4, 5, 6, 7]
            page = file(app, "difference.html")
            assert "What the edits changed" in page
            assert b"KL from the baseline" in payload(page)
            assert b'"kind": "ablated"' in payload(page)
            assert '"rows": [4, 5, 6, 7]' not in page
            assert_close(names["edited"].logits(-1), node.held.logits(-1))
            assert (tmp_path / "difference.html").stat().st_size > 10_000
        else:
            run = node.held if look == Look.EDITED else here.base.trace
            view = iv.HeatmapView(run.id, rows=iv.Span(4, 8))
            ids = here.base.engine.view(view, session=here.id).token_ids
            np.testing.assert_array_equal(record["token_ids"], ids)
            np.testing.assert_array_equal(names["grid"].token_ids, ids)
    assert Mark(4, 5, "ablated") in export._marks(here, here.shown)["marks"]


def test_all_rows_and_positions_need_not_be_said(app: App) -> None:
    assert "grid = trace.heatmap()" in python(app)
    app.set("number_input", "row_step", 3)
    assert "rows=[1, 4, 7])" in python(app)
