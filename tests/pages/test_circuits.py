"""Many pairs, one way alone, and circuits on the patching page, under Streamlit's tester."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intravisto_core.errors import RequestError
from intravisto_core.request import Ablate, CircuitRequest, Patch, PatchingRequest, PathPatchingRequest
from intravisto_core.sites import Alignment, Ranking, Site
from intravisto_ui.parts import circuit_start
from intravisto_ui.parts.variants import Variant
from intravisto_ui.patching import actions, circuit_actions, patches
from intravisto_ui.patching.pair_list import PairLine, read_pairs, write_pairs
from intravisto_ui.patching.path_form import Way, read_head
from tests.pages.test_patching import given, patching, wait  # noqa: F401

CLEAN, CORRUPT = "The capital of Italy is the city of", "The capital of France is the city of"
PAIRS = (
    PairLine(CLEAN, CORRUPT, " Rome", " Paris"),
    PairLine("The capital of Spain is the city of", CORRUPT, " Madrid", " Paris"),
)
TEXT = "\n".join(one.write() for one in PAIRS)


def open_mode(app, mode: str, text: str = TEXT):
    app.set("segmented_control", "patch_mode", mode)
    app.set("text_area", "pair_list", text)
    app.assert_calm()
    return app


def test_pairs_are_read_from_bars_and_from_tables():
    assert read_pairs(TEXT) == PAIRS
    assert read_pairs("a b\tc d\t e\n\n x | y") == (PairLine("a b", "c d", " e"), PairLine(" x", "y"))
    for one in PAIRS:
        assert read_pairs(one.write()) == (one,)
    for bad in ("only one prompt", "", "a | b | c | d | e"):
        with pytest.raises(RequestError, match="pairs: expected" if bad else "No pairs yet"):
            read_pairs(bad)


def test_more_pairs_change_both_prompts_alike(patching):  # noqa: F811
    engine = patching.workspace.base.engine
    names = PairLine("Mary and John ran, John gave it to", "Mary and John ran, Mary gave it to", " Mary", " John")
    found = write_pairs(engine, names)
    assert found[:2] == (
        names,
        PairLine("John and Mary ran, Mary gave it to", "John and Mary ran, John gave it to", " John", " Mary"),
    )
    number = write_pairs(engine, PairLine("The keys to the", "The key to the", " are", " is"))
    assert PairLine("The books to the", "The book to the", " are", " is") in number


def test_grids_over_many_pairs_have_a_mean_and_each_one_s_own(patching):  # noqa: F811
    open_mode(patching, "pairs")
    patching.click("patch_run")
    run = wait(patching, "patching-pairs")
    by_place, by_head = run.read()
    assert isinstance(run.requests[0], PatchingRequest)
    assert (run.requests[0].target, run.requests[0].alignment) == ((" Rome", " Madrid"), Alignment.SAME_LENGTH)
    data = given(patching, "patching")
    assert data["foot"][0] == "Mean over 2 pairs of prompts."
    low, high = data["blocks"][1]["interval"]
    assert low[2] == pytest.approx(by_head.interval[0][2], abs=2e-3)
    assert high[2] == pytest.approx(by_head.interval[1][2], abs=2e-3)
    patching.tester.selectbox(key=f"patch_pair_{run.rev}").select_index(2).run()
    data = given(patching, "patching")
    assert "from ␣Paris to ␣Madrid" in data["about"] or "back from ␣Paris to ␣Madrid" in data["about"]
    assert data["blocks"][1]["values"][2] == pytest.approx(by_head.each[1][2], abs=2e-3)
    assert by_place.prompts[1].clean_tokens[4].text == " Spain"
    # a cell leads on with the pair that is shown
    run.take_act({"rev": run.rev, "n": 1, "do": "test", "block": "z", "layer": 2, "column": 1}, actions.WAYS)
    patching.tester.run()
    assert patching.workspace.claim.prompts == tuple(Variant(one.clean, one.target, one.contrast) for one in PAIRS)
    run.take_act({"rev": run.rev, "n": 2, "do": "open", "block": "z", "layer": 2, "column": 1}, actions.WAYS)
    patching.tester.run()
    patching.settle()
    (card,) = patching.workspace.edits.cards
    assert card.what == Patch(
        Site.Z, 2, tuple(by_head.choose_prompt(1).positions.tolist()), head=1, source=PAIRS[1].clean
    )


def test_heads_are_patched_along_one_way(patching):  # noqa: F811
    open_mode(patching, "pairs")
    patching.set("selectbox", "patch_heads", "path").set("selectbox", "patch_places", "none")
    patching.set("selectbox", "patch_receiver", "q").set("text_input", "patch_receiver_head", "L4H1")
    patching.click("patch_run")
    run = wait(patching, "patching-pairs")
    (asked,) = run.requests
    assert isinstance(asked, PathPatchingRequest)
    assert (asked.receiver, asked.sender) == ((4, 1, Site.Q), None)
    (block,) = given(patching, "patching")["blocks"]
    assert (block["name"], block["about"]) == ("Heads", "to the queries of L4H1")
    assert "on the way to the queries of L4H1 alone" in block["does"]
    assert [way["act"] for way in block["ways"]] == ["test", "attention"], "what one place is told is no edit"
    assert len(block["values"]) == 4, "layers below the head that hears"
    assert "receiver=(4, 1, " in patches.write_call(asked)
    patching.set("text_input", "patch_senders", "L9")
    assert "a head, as L4H1" in patching.html()


def test_a_way_is_read_as_it_is_typed():
    assert Way("v", "l2h0", "L0H1, L1H3", True).read() == {
        "receiver": (2, 0, "v"),
        "sender": [(0, 1), (1, 3)],
        "through_mlps": True,
    }
    assert Way().read() == {"receiver": "logits", "sender": None, "through_mlps": False}
    with pytest.raises(RequestError, match="receiver: expected a head"):
        read_head("", "receiver")


def report(app, monkeypatch, do: str, **more: Any) -> None:
    """What the script reports of a click on the circuit's picture."""

    def set_kept(**values: Any) -> None:
        app.workspace.options.update(values)
        for key, value in values.items():
            app.tester.session_state[key] = value

    monkeypatch.setattr(circuit_start, "set_kept", set_kept)
    run = app.workspace.grids["circuit"]
    circuit_actions.take(app.workspace, run, {"rev": run.rev, "do": do, **more})
    app.tester.run()
    app.settle()


def test_a_circuit_is_measured_edited_by_clicks_and_measured_again(patching, monkeypatch):  # noqa: F811
    open_mode(patching, "circuit")
    assert "Which parts are enough for the answer?" in patching.html()
    patching.click("circuit_run")
    run = wait(patching, "circuit")
    (found,) = run.read()
    assert run.requests[0] == CircuitRequest(
        None, tuple((o.clean, o.corrupt) for o in PAIRS), (" Rome", " Madrid"), (" Paris", " Paris"), by=Ranking.EAP_IG
    )
    data = given(patching, "circuit")
    assert data["kept"] == data["measured"] == "".join("01"[int(k)] for k in found.kept)
    assert patching.tester.button(key="circuit_run").disabled
    # a click leaves a part out, and nothing runs by itself
    first = data["kept"].index("1")
    kept = data["kept"][:first] + "0" + data["kept"][first + 1 :]
    report(patching, monkeypatch, "edit", n=1, part=first, kept=kept)
    data = given(patching, "circuit")
    assert (data["kept"], data["n"], data["measured"].index("1")) == (kept, 1, first)
    assert patching.tester.selectbox(key=circuit_start.SOURCE).value == circuit_start.OWN
    assert f"Changed, not measured. 2 pairs, {kept.count('1')} part" in patching.html()
    patching.click("circuit_run")
    (again,) = wait(patching, "circuit").read()
    assert again.chosen
    assert set(again.parts) == set(found.parts) - {(int(found.layer[first]), int(found.head[first]))}
    np.testing.assert_array_equal(again.faithfulness, found.faithfulness)
    # a part leads on
    report(patching, monkeypatch, "test", n=2, part=first, kept=kept)
    (edit,) = patching.workspace.claim.edits
    assert (edit.layer, edit.positions) == (int(found.layer[first]), "prompt")
    assert isinstance(edit, Ablate)
    assert patching.workspace.claim.prompts[1] == Variant(PAIRS[1].clean, " Madrid", " Paris")


def test_a_circuit_is_taken_from_the_attribution(patching):  # noqa: F811
    open_mode(patching, "circuit")
    patching.set("selectbox", circuit_start.SOURCE, circuit_start.OWN)
    assert "none was chosen" in patching.html()
    patching.click("circuit_take").assert_calm()
    workspace = patching.workspace
    parts = circuit_start.read_parts(workspace, workspace.base.spec)
    assert len(parts) == circuit_start.LISTED
    patching.tester.switch_page("pages/flow.py").run()
    patching.tester.button_group(key="flow_tab").set_value("attribution").run()
    patching.tester.button(key="flow_circuit").click().run()
    assert circuit_start.read_parts(workspace, workspace.base.spec) == parts, "the same list"
    assert workspace.options[circuit_start.MODE] == circuit_start.CIRCUIT


def test_the_largest_parts_of_an_attribution():
    class Found:
        head_values = np.array([[0.5, -2.0], [0.1, 0.0]])
        mlp_values = np.array([1.0, -0.2])

    assert circuit_start.list_largest(Found(), 3) == ((0, 1), (0, -1), (0, 0))
