"""The architecture page under Streamlit's tester: what its picture is given, and what is measured from it."""

from __future__ import annotations

import json

import pytest

import intravisto_core as iv
from intravisto_core.request import ArchitectureView
from intravisto_ui.architecture import blocks, page
from intravisto_ui.session.module_blocks import KEY, read_blocks
from tests.pages.test_explain import with_model


@pytest.fixture
def architecture(open_app):
    app = with_model(open_app())
    app.tester.switch_page("pages/architecture.py").run()
    app.assert_calm()
    return app


def picture_of(app) -> dict:
    """What the picture is given."""
    found = [e.proto for e in app.tester.get("bidi_component") if e.proto.component_name == "intravisto_architecture"]
    return json.loads(found[-1].json)


def act(app, **what) -> None:
    """An act on the picture, as its script reports it."""
    shown = app.workspace.shown
    view = ArchitectureView(shown.trace.id, blocks=read_blocks(app.workspace.options))
    found = app.workspace.read_view(shown.engine, view, page.SLOT)
    page._take_act(app.workspace, shown, found, {"rev": shown.trace.id, "n": 1, **what})
    app.tester.run()
    app.settle()


def test_the_picture_is_of_the_open_model_and_the_shown_text(architecture) -> None:
    data = picture_of(architecture)
    assert data["name"] == architecture.workspace.shown.engine.model.name
    assert data["run"]["n"] == len(architecture.workspace.shown.trace.tokens)
    assert list(data["says"]) == [f"model.layers.{i}" for i in range(6)]
    assert data["attach"]
    assert "What is this model made of" in architecture.html()


def test_blocks_are_measured_listed_and_removed(architecture) -> None:
    paths = [f"model.layers.{i}.mlp" for i in range(6)]
    act(architecture, do="attach", label="model.layers.*.mlp", paths=paths, statistic="histogram")
    found = [o for o in picture_of(architecture)["outputs"] if o["statistic"] == "histogram"]
    assert [o["path"] for o in found] == paths
    assert all(o["attached"] for o in found)
    assert "histogram of model.layers.*.mlp, 6 modules" in architecture.html()
    # they are of the next run, too
    before = found[0]["values"]
    architecture.set("text_area", "prompt", "1 2 3 4")
    architecture.click("run")
    again = [o for o in picture_of(architecture)["outputs"] if o["statistic"] == "histogram"]
    assert again[0]["values"] != before
    act(architecture, do="detach", path=paths[2], statistic="histogram", what="output")
    assert not any(o["statistic"] == "histogram" for o in picture_of(architecture)["outputs"])
    assert read_blocks(architecture.workspace.options) == ()
    architecture.assert_calm()


def test_the_dimensions_of_a_picture_are_chosen_and_the_record_and_python_say_which(architecture) -> None:
    path = "model.layers.1.mlp"
    act(architecture, do="attach", label=path, paths=[path], statistic="matrix", what="input")
    (found,) = [o for o in picture_of(architecture)["outputs"] if o["statistic"] == "matrix"]
    assert (found["what"], found["axes"], found["attached"]) == ("input", [2, 1, None], True)
    assert "picture of the input of model.layers.1.mlp" in architecture.html()
    act(architecture, do="axes", path=path, what="input", x=1, y=2, spread=0)
    (found,) = [o for o in picture_of(architecture)["outputs"] if o["statistic"] == "matrix"]
    assert found["axes"] == [1, 2, 0]
    (block,) = read_blocks(architecture.workspace.options)
    assert (block.x, block.y, block.spread) == (1, 2, 0)
    written = blocks.write_arguments([block])
    assert written == f"blocks=[iv.ModuleBlock({path!r}, 'matrix', what='input', x=1, y=2, spread=0)]"
    architecture.assert_calm()


def test_a_run_is_watched_where_something_is_attached(architecture) -> None:
    workspace = architecture.workspace
    act(architecture, do="attach", label="no", paths=[""], statistic="size")
    assert read_blocks(workspace.options) == ()
    paths = [f"model.layers.{i}" for i in range(6)]
    act(architecture, do="attach", label="model.layers.*", paths=paths, statistic="tokens")
    act(architecture, do="attach", label="gone", paths=["model.layers.0"], statistic="size")
    workspace.options[KEY][1]["paths"] = ["of.another.model"]
    workspace.start(workspace.spec, workspace.base.request)
    run = workspace.run
    assert run.wait(60)
    assert [watch.calls for watch in run.watches] == [len(run.trace.tokens) - run.trace.prompt_length + 1] * 6
    ids = [int(watch.outputs[0].token_ids[-1, 0]) for watch in run.watches]
    assert ids[-1] == int(run.trace.heatmap(rows=iv.Span(6, 7), top_k=1).token_ids[0, -1, 0])


def test_paths_that_there_are_not_and_late_acts_are_ignored(architecture) -> None:
    act(architecture, do="attach", label="x", paths=["no.such"], statistic="size")
    page._take_act(architecture.workspace, architecture.workspace.shown, None, {"rev": "another", "do": "attach"})
    assert read_blocks(architecture.workspace.options) == ()


def test_a_layer_leads_to_its_row_of_the_heatmap(architecture) -> None:
    act(architecture, do="open", path="model.layers.3")
    assert architecture.workspace.selection.row == 4
