"""The page of a layer under Streamlit's tester: what its picture and cards are given, where its clicks lead."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from intravisto_core.errors import RequestError
from intravisto_core.request import Ablate, Scale
from intravisto_core.request.layer_settings import read_settings, write_settings
from intravisto_core.sites import RankPalette
from intravisto_ui.layer import actions, chain, settings_menu
from tests.dictionaries import make_arrays, write_sae
from tests.pages.test_explain import with_model


@pytest.fixture
def layer(open_app):
    app = with_model(open_app())
    app.tester.switch_page("pages/layer.py").run()
    app.assert_calm()
    return app


def given(app, name: str) -> dict[str, Any]:
    """What the component of that name is given."""
    found = [e.proto for e in app.tester.get("bidi_component") if e.proto.component_name == f"intravisto_{name}"]
    return json.loads(found[-1].json)


class Place:
    """As much of a record as a click is held against."""

    def __init__(self, app) -> None:
        data = given(app, "layer")
        self.trace, self.layer, self.position = data["rev"], data["layer"], data["position"]


def click(app, **what) -> None:
    """A click on the picture, as its script reports it."""
    shown = app.workspace.shown
    actions.take_step(app.workspace, shown, Place(app), {"rev": shown.trace.id, "n": 1, **what})
    app.tester.run()
    app.settle()


def test_it_opens_where_the_rank_of_the_answer_falls_most(layer):
    data = given(layer, "layer")
    ranks = data["ranks"]
    assert len(ranks) == 7
    falls = [before / after for before, after in pairwise(ranks)]
    assert data["layer"] == falls.index(max(falls))
    assert data["target"] == "␣Rome"
    assert data["position"] == 11
    assert [len(lane["rows"]) for lane in data["lanes"]] == [4, 11]
    cards = given(layer, "layer_cards")
    best = max(data["lanes"][0]["rows"], key=lambda row: row["pull"])
    assert cards["head"]["head"] == best["index"]
    assert data["head"] == f"head.-1.{best['index']}"
    assert len(json.dumps(data)) + len(json.dumps(cards)) < 60_000


def test_another_layer_another_head_another_position(layer):
    click(layer, do="layer", layer=4)
    assert given(layer, "layer")["layer"] == 4
    click(layer, do="head", index=2, expert=-1)
    assert given(layer, "layer_cards")["head"]["head"] == 2
    neuron = given(layer, "layer")["lanes"][1]["rows"][3]["index"]
    click(layer, do="neuron", index=neuron, expert=-1)
    cards = given(layer, "layer_cards")
    assert (cards["head"]["head"], cards["neuron"]["neuron"]) == (2, neuron)
    click(layer, do="position", position=6)
    data = given(layer, "layer")
    assert (data["layer"], data["position"]) == (4, 6)
    assert layer.workspace.selection.position == 6
    layer.assert_calm()


def test_more_layers_stand_below_and_a_click_goes_there(layer):
    layer.set("text_input", "layer_chain", "1, -1 1")
    found = [e.proto for e in layer.tester.get("bidi_component") if e.proto.component_name == "intravisto_layer"]
    first, *below = [json.loads(proto.json) for proto in found]
    assert [data["layer"] for data in below] == [1, 5]
    assert [data["position"] for data in below] == [first["position"]] * 2
    shown = layer.workspace.shown
    graph = shown.trace.layer(5, first["position"])
    chain.take_step(layer.workspace, shown, graph, {"rev": shown.trace.id, "do": "head", "index": 3, "expert": -1})
    layer.set("text_input", "layer_chain", "")
    assert given(layer, "layer")["layer"] == 5
    assert given(layer, "layer_cards")["head"]["head"] == 3
    layer.assert_calm()
    for wrong, said in (("two", "as 2, 4"), ("9", "layer: expected"), ("0 1 2 3 4 5 0", "at most 6")):
        layer.set("text_input", "layer_chain", wrong)
        assert said in layer.html()


def test_the_width_chooses_the_rows(layer):
    click(layer, do="layer", layer=5)
    by_size = [row["index"] for row in given(layer, "layer")["lanes"][1]["rows"]]
    layer.set("segmented_control", "layer_width", "pull")
    data = given(layer, "layer")
    rows = data["lanes"][1]["rows"]
    assert data["width"] == "pull"
    assert [row["index"] for row in rows] != by_size
    pulls = [abs(row["pull"]) for row in rows if row["kind"] == "neuron"]
    assert pulls == sorted(pulls, reverse=True)
    layer.assert_calm()


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        ({"do": "ablate", "kind": "head", "index": 2, "expert": -1}, Ablate("z", 4, (11,), head=2)),
        ({"do": "double", "kind": "head", "index": 1, "expert": -1}, Scale("z", 4, (11,), head=1, factor=2.0)),
        ({"do": "ablate", "kind": "neuron", "index": 7, "expert": -1}, Ablate("act", 4, (11,), neuron=7)),
        (
            {"do": "double", "kind": "neuron", "index": 7, "expert": 3},
            Scale("act", 4, (11,), neuron=(3, 7), factor=2.0),
        ),
    ],
)
def test_buttons_are_plain_edits(act, wanted):
    assert actions.write_edit(act, 4, 11, act["index"]) == wanted


def test_a_test_of_a_head_runs_and_its_run_is_shown_here_too(layer):
    shown = layer.workspace.shown
    actions.take_way(layer.workspace, shown, {"rev": "other", "do": "ablate"})
    assert actions.GOING not in layer.workspace.options
    act = {
        "rev": shown.trace.id,
        "n": 1,
        "do": "ablate",
        "kind": "head",
        "layer": 4,
        "position": 11,
        "index": 0,
        "expert": -1,
    }
    actions.take_way(layer.workspace, shown, act)
    layer.tester.run()
    layer.settle()
    assert [card.what for card in layer.workspace.edits.cards] == [Ablate("z", 4, (11,), head=0)]
    layer.assert_calm()


def test_the_finder_lists_neurons_and_those_that_promote_a_token(layer):
    layer.set("toggle", "layer_finder_open", True)
    assert len(layer.tester.dataframe) >= 1
    table = layer.tester.dataframe[-1].value
    assert len(table) == 30
    layer.set("text_input", "layer_finder_token", " Rome")
    table = layer.tester.dataframe[-1].value
    assert table["cosine"].abs().is_monotonic_decreasing
    assert "one token: " in layer.html()
    layer.set("text_input", "layer_finder_token", "Rome")
    layer.click("layer_finder_token_space")
    assert layer.tester.dataframe[-1].value.equals(table)
    layer.assert_calm()


@pytest.fixture
def dictionary(layer, tmp_path):
    """A folder with an autoencoder of 40 features of the demo model's stream, let go of at the end."""
    engine = layer.workspace.shown.engine
    yield write_sae(tmp_path / "sae", make_arrays(engine.model.d_model, 40), engine.model.name, "blocks.4.hook_mlp_out")
    for card in engine.dictionaries:
        engine.remove_dictionary(card.name)


def test_features_of_a_dictionary_are_added_seen_and_changed(layer, dictionary):
    click(layer, do="layer", layer=4)
    assert given(layer, "layer")["features"] == []
    layer.tester.text_input(key="layer_dictionaries_path").set_value(str(dictionary / "nowhere"))
    layer.tester.button(key="layer_dictionaries_add").click().run()
    assert any("owner/name/folder" in e.proto.body for e in layer.tester.get("html")), (
        "what is wrong stands in the menu"
    )
    layer.tester.text_input(key="layer_dictionaries_path").set_value(str(dictionary))
    layer.tester.button(key="layer_dictionaries_add").click().run()
    layer.settle()
    layer.assert_calm()
    (found,) = given(layer, "layer")["features"]
    assert found["name"] == "sae"
    assert [row["kind"] for row in found["rows"]] == ["feature"] * 10 + ["others", "bias", "error"]
    pulls = {row["index"]: row["pull"] for row in found["rows"] if row["kind"] == "feature"}
    best = max(pulls, key=pulls.get)
    assert given(layer, "layer_cards")["feature"]["feature"] == best
    assert given(layer, "layer")["feature"] == f"feature.sae.{best}"
    other = min(pulls, key=pulls.get)
    click(layer, do="feature", index=other, dictionary="sae")
    assert given(layer, "layer_cards")["feature"]["feature"] == other
    shown = layer.workspace.shown
    place = {"rev": shown.trace.id, "n": 1, "kind": "feature", "layer": 4, "position": 11, "index": other}
    steer = actions.write_feature_edit(shown, place | {"do": "steer", "dictionary": "sae"}, 4, 11, other)
    assert (steer.positions, steer.unit) == ("all", "absolute")
    actions.take_way(layer.workspace, shown, place | {"do": "ablate", "dictionary": "sae"})
    layer.tester.run()
    layer.settle()
    (card,) = layer.workspace.edits.cards
    assert (card.what.site, card.what.layer, card.what.positions) == ("mlp_out", 4, (11,))
    assert card.what.direction.name == f"feature {other} of sae"
    layer.assert_calm()
    layer.tester.switch_page("pages/layer.py").run()
    layer.tester.button(key="layer_dictionaries_remove_sae").click().run()
    layer.settle()
    assert given(layer, "layer")["features"] == []
    layer.assert_calm()


def test_the_neuron_of_the_card_over_pasted_texts(layer):
    layer.set("toggle", "layer_texts_open", True)
    layer.set("text_area", "layer_texts_given", "Rome is a city.\n\n  <i>Paris</i>  \nQ: What is it? A:")
    layer.tester.button(key="layer_texts_go").click().run()
    layer.settle()
    (shaded,) = [e.proto.body for e in layer.tester.get("html") if "shaded-text" in e.proto.body]
    lines = shaded.partition("</style>")[2].split('<div class="shaded-text">')[1:]
    assert len(lines) == 3
    largest = [abs(float(line.partition("<b>")[2].partition("</b>")[0].replace("−", "-"))) for line in lines]
    assert largest == sorted(largest, reverse=True)
    assert "<i>" not in shaded
    neuron = given(layer, "layer_cards")["neuron"]["neuron"]
    assert f"neuron {neuron}: its largest activation" in shaded
    layer.assert_calm()


def test_settings_are_saved_and_loaded(layer):
    layer.set("segmented_control", "layer_width", "pull")
    layer.set("number_input", "layer_neurons", 5)
    layer.set("selectbox", "layer_settings_palette", RankPalette.VIRIDIS)
    assert given(layer, "layer")["palette"] == given(layer, "layer_cards")["palette"] == "viridis"
    loaded = read_settings(b'{"name": "mine", "neurons": 3, "heads": 2, "order": "logit", "palette": "cividis"}')
    assert read_settings(write_settings(loaded)) == loaded
    layer.workspace.options[settings_menu.PENDING] = loaded
    layer.tester.run()
    layer.settle()
    data = given(layer, "layer")
    assert [len(lane["rows"]) for lane in data["lanes"]] == [3, 4]
    assert (data["width"], data["palette"]) == ("size", "cividis")
    assert len(given(layer, "layer_cards")["head"]["sources"]) == 3
    layer.assert_calm()


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"colour": 1}', b'{"neurons": -1}', b'{"palette": "red"}', b"[" * 99_999, b'{"a":' * 50_000]
)
def test_settings_that_are_none_are_refused(body):
    with pytest.raises(RequestError):
        read_settings(body)


def test_the_threshold_graph_and_the_attribution_lead_here_and_back(layer):
    click(layer, do="layer", layer=3)
    layer.tester.button(key="layer_to_graph").click().run()
    layer.settle()
    assert layer.workspace.options["flow_tab"] == "graph"
    assert (layer.workspace.selection.row, layer.workspace.selection.position) == (4, 11)
    layer.workspace.select_cell(5, 9)
    layer.tester.switch_page("pages/flow.py").run()
    layer.settle()
    layer.tester.button(key="graph_layer").click().run()
    layer.tester.switch_page("pages/layer.py").run()
    layer.settle()
    data = given(layer, "layer")
    assert (data["layer"], data["position"]) == (4, 9)
    layer.tester.button(key="layer_to_attribution").click().run()
    layer.settle()
    assert layer.workspace.options["flow_tab"] == "attribution"
    layer.assert_calm()
    layer.tester.switch_page("pages/flow.py").run()
    layer.settle()
    layer.tester.button(key="head_layer").click().run()
    layer.tester.switch_page("pages/layer.py").run()
    layer.settle()
    assert (given(layer, "layer")["layer"], given(layer, "layer")["position"]) == (4, 9)
    layer.assert_calm()
