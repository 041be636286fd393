"""What the export menu of the heatmap gives is what the page shows: the run, the edits, the difference."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.figures.web import Mark
from intravisto_core.sites import Colour, Component, ShareMeasure
from intravisto_ui.heatmap import export, options, picture
from intravisto_ui.session.edit_stack import BASELINE, DIFFERENCE, EDITED
from tests.pages.conftest import App
from tests.pages.test_injection import PAGE, run_edits
from tests.reference.equal import assert_close

CHOSEN: list[options.Options] = []


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes what the page's options come to, in CHOSEN."""
    draw = options.draw
    monkeypatch.setattr(options, "draw", lambda shown: CHOSEN.append(draw(shown)) or CHOSEN[-1])


def file(app: App, name: str) -> str:
    return export._file(app.workspace, CHOSEN[-1], name)().decode("utf-8-sig")


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
    for look, name in ((BASELINE, "heatmap"), (EDITED, "heatmap"), (DIFFERENCE, "difference")):
        here.edits.look = look
        app.tester.run()
        app.assert_calm()
        for key in ("colour", "reading"):
            assert app.tester.selectbox(key=key).disabled is (look == DIFFERENCE)
        names: dict[str, object] = {}
        exec(export.python(here, CHOSEN[-1]), names)
        record = json.loads(file(app, f"{name}.json"))
        if look == DIFFERENCE:
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
            run = node.held if look == EDITED else here.base.trace
            view = iv.HeatmapView(run.id, rows=iv.Span(4, 8))
            ids = here.base.engine.view(view, session=here.id).token_ids
            np.testing.assert_array_equal(record["token_ids"], ids)
            np.testing.assert_array_equal(names["grid"].token_ids, ids)
    assert Mark(4, 5, "ablated") in picture.marks(here)


def test_all_rows_and_positions_need_not_be_said(app: App) -> None:
    assert "grid = trace.heatmap()" in export.python(app.workspace, CHOSEN[-1])
    app.set("number_input", "row_step", 3)
    assert "rows=[1, 4, 7])" in export.python(app.workspace, CHOSEN[-1])
