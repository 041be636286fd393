"""The explain page under Streamlit's tester: what it asks for, what its card is given, where its names lead."""

from __future__ import annotations

import json
import time

import pytest

from intravisto_core.request import Ablate, ExplainView
from intravisto_core.sites import Component, Site
from intravisto_ui.explain import card
from intravisto_ui.parts.flow_start import FlowTab


@pytest.fixture
def explain(open_app):
    app = with_model(open_app())
    app.tester.switch_page("pages/explain.py").run()
    app.assert_calm()
    return app


def with_model(app):
    """Until the run of the model has taken the place of the saved one."""
    for _ in range(200):
        if not app.workspace.shows_saved:
            return app.settle()
        time.sleep(0.1)
        app.tester.run()
    raise AssertionError("the model never ran")


def view_of(app) -> ExplainView:
    """The view whose tests were begun last."""
    return [key[2] for key in app.workspace.kept if isinstance(key, tuple) and key[:2] == ("explain", "tests")][-1]


def find_under_way(app) -> card.Tests:
    return app.workspace.kept["explain", "tests", view_of(app)]


def card_of(app, finished: bool = True) -> dict:
    """What the card is given, once its tests are made."""
    if finished:
        find_under_way(app).job.result(60)
        app.tester.run()
    found = [e.proto for e in app.tester.get("bidi_component") if e.proto.component_name == "intravisto_explain"]
    return json.loads(found[-1].json)


def act(app, **what) -> None:
    """An act on the card, as its script reports it."""
    view = view_of(app)
    shown = app.workspace.shown
    card._take_act(app.workspace, shown, view, {"rev": view.trace, "n": 1, "position": view.position, **what})
    app.tester.run()
    app.settle()


def test_the_card_explains_the_generated_token_and_its_tests_follow(explain):
    first = find_under_way(explain)
    data = card_of(explain)
    assert data["target"] == "␣Rome"
    assert (data["links"], data["progress"]) == (True, None)
    assert data["pieces"][0]["text"] == "The model says "
    assert any("Tested: without" in p["text"] for p in data["pieces"])
    assert all(p["without"] for p in data["who"]["parts"] if p["part"] in data["who"]["rows"])
    assert "Where does ␣Rome come from?" in explain.html()
    explain.tester.run()
    assert find_under_way(explain) is first, "they are made once"
    assert view_of(explain).contrast is None


def test_against_the_runner_up_and_a_typed_contrast(explain):
    explain.set("segmented_control", "explain_side_open", "against")
    assert view_of(explain).contrast is not None
    assert card_of(explain)["words"]["now"].startswith("now +")
    explain.ask(contrast=" Paris")
    assert view_of(explain).contrast == " Paris", "a typed contrast is taken at once"
    assert card_of(explain)["contrast"] == "␣Paris"
    explain.assert_calm()


def test_a_clicked_token_is_explained(explain):
    base = explain.workspace.base
    explain.workspace.select({"rev": base.trace.id, "n": 99, "row": 7, "position": 6})
    explain.tester.run()
    data = card_of(explain)
    assert data["position"] == 6
    assert len(data["words"]["columns"]) == 7


def test_tests_can_be_stopped_and_gone_on_with(explain):
    card_of(explain)
    act(explain, do="stop")
    assert card_of(explain, finished=False)["progress"]["stopped"]
    act(explain, do="resume")
    assert card_of(explain)["progress"] is None


@pytest.mark.parametrize(
    ("what", "path", "kept"),
    [
        ({"to": "heatmap", "position": 3, "row": 7}, "heatmap", {"component": Component.BLOCK}),
        ({"to": "part", "row": 4, "layer": 3, "kind": "mlp"}, "heatmap", {"component": Component.MLP}),
        ({"to": "flow"}, "flow", {"flow_tab": FlowTab.FLOW}),
        ({"to": "attribution", "layer": 2, "head": 1}, "flow", {"flow_tab": FlowTab.ATTRIBUTION}),
        ({"to": "attention", "layer": 2, "head": 1, "key": 4}, "attention", {}),
    ],
)
def test_names_lead_to_their_pages(explain, what, path, kept):
    act(explain, do="open", **what)
    for page, component in (("heatmap", "intravisto_grid"), ("attention", "intravisto_attention")):
        assert (path == page) == (component in explain.components())
    assert explain.workspace.selection.position == what.get("position", 11)
    for name, value in kept.items():
        assert explain.workspace.options[name] == value
    explain.assert_calm()


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ({"kind": "head", "layer": 5, "head": 3}, Ablate(Site.Z, 5, (11,), head=3)),
        ({"kind": "mlp", "layer": 2, "head": -1}, Ablate(Site.MLP_OUT, 2, (11,))),
    ],
)
def test_ablate_is_a_plain_edit(explain, part, wanted):
    act(explain, do="ablate", **part)
    assert [c.what for c in explain.workspace.edits.cards] == [wanted]
    explain.assert_calm()


def test_a_part_is_claimed_and_tested(explain):
    act(explain, do="test", kind="head", layer=5, head=3, to="part")
    draft = explain.workspace.claim
    assert draft.edits == (Ablate(Site.Z, 5, (-1,), head=3),)
    assert [one.target for one in draft.prompts[:2]] == [" Rome", " Paris"]
    assert card.GOING not in explain.workspace.options
    assert not explain.workspace.edits.cards


def test_an_act_on_another_trace_is_left_alone(explain):
    view = view_of(explain)
    card._take_act(explain.workspace, explain.workspace.shown, view, {"rev": "other", "do": "ablate"})
    assert card.GOING not in explain.workspace.options
    card._take_act(explain.workspace, explain.workspace.shown, view, None)


def test_the_same_in_python(explain):
    code = "\n".join(block.value for block in explain.tester.code)
    assert "found = trace.explain(target=' Rome', position=11)" in code
    assert "found.sentence" in code


def test_every_page_leads_here(open_app):
    app = with_model(open_app())
    app.click("explain_here")
    assert "intravisto_explain" in app.components()
    app.assert_calm()


@pytest.mark.parametrize("method", ["gradient_input", "integrated_gradients", "occlusion"])
def test_saliency_shades_every_token(explain, method):
    assert 'class="saliency"' not in explain.html(), "off until it is asked for"
    explain.set("segmented_control", "saliency", method)
    shown = explain.html()
    assert shown.count('title="position ') == len(explain.workspace.base.trace.tokens)
    assert "Blue raises, orange lowers the score" in shown
    explain.assert_calm()
