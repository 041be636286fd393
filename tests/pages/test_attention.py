"""The attention page under Streamlit's tester: what its picture is given, what it is sent, where its clicks lead."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intravisto_core.engine.answers import pack_answer
from intravisto_core.request import Ablate, KnockOut
from intravisto_core.sites import SinkHandling
from intravisto_ui.attention import actions, head_types, page
from intravisto_ui.attention.sight import KEPT
from intravisto_ui.parts import kept
from intravisto_ui.parts.attention_start import start_attention_at
from tests.pages.conftest import App
from tests.pages.test_explain import with_model


@pytest.fixture
def attention(app: App) -> App:
    with_model(app)
    app.tester.switch_page("pages/attention.py").run()
    app.assert_calm()
    return app


def headers(app: App, component: str) -> list[dict[str, Any]]:
    """What the components of that name are given, less their arrays."""
    found = []
    for element in app.tester.get("bidi_component"):
        if element.proto.component_name == f"intravisto_{component}":
            (size,) = struct.unpack_from("<I", element.proto.bytes)
            found.append(json.loads(element.proto.bytes[4 : 4 + size]))
    return found


def packets(app: App) -> dict[str, dict[str, Any]]:
    """The packets that are sent, by what they hold."""
    rev = app.workspace.shown.trace.id
    return {h["name"].removeprefix(f"{rev} "): h for h in headers(app, "attention_packet")}


def look(app: App, **sight: Any) -> App:
    """As the script says that something came into sight."""
    shown = app.workspace.shown
    told = {"rev": shown.trace.id, "heads": "all", "strength": "weights", "sinks": "hide", "query": 3, "key": 1}
    page.take_sight(app.workspace, shown, told | sight)
    app.tester.run()
    app.assert_calm()
    return app


def act(app: App, **what: Any) -> None:
    shown = app.workspace.shown
    actions.take(app.workspace, shown, {"rev": shown.trace.id, "n": 1, **what})
    app.tester.run()
    app.settle()


def test_a_short_text_is_sent_whole_at_once(attention: App) -> None:
    (given,) = headers(attention, "attention")
    trace = attention.workspace.shown.trace
    assert (given["rev"], given["layers"], given["heads"], given["cube"]) == (trace.id, 6, 4, True)
    assert len(given["tokens"]) == len(trace.tokens)
    sent = packets(attention)
    assert set(sent) == {"steer", "cube weights", "types"}
    assert sent["steer"]["goal"]["state"]["query"] == attention.workspace.selection.position


def test_only_what_is_in_sight_is_sent(attention: App, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "rows L2H1 weights",
        "query 3 weights",
        "patterns hide",
        "why L2H1 5 4 mean",
        "why L2H1 5 4 2",
        "composition L2H1",
    ]
    sent = packets(look(attention, heads="L2H1", needed=names))
    assert set(sent) == {"steer", *names}
    assert not any("error" in packet for packet in sent.values())
    cuts = sent["why L2H1 5 4 mean"]["cuts"]
    assert [cut["end"] for cut in cuts] == ["key"] * 6 + ["query"] * 6, "one beside each part that is named"
    assert "position 2" in sent["why L2H1 5 4 2"]["words"][0]
    assert sent["why L2H1 5 4 mean"]["total"] == pytest.approx(sent["why L2H1 5 4 mean"]["sum"], abs=0.01)


def test_what_cannot_be_computed_is_told_in_its_packet(attention: App) -> None:
    sent = packets(look(attention, needed=["why L0H0 0 0 mean", "rows L9H9 weights", "nonsense 3"]))
    assert set(sent) == {"steer", "why L0H0 0 0 mean", "rows L9H9 weights"}
    assert all(sent[name]["error"] for name in ("why L0H0 0 0 mean", "rows L9H9 weights"))


def test_the_switch_of_sinks_is_that_of_all_pages(attention: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "current_workspace", lambda: attention.workspace)
    look(attention, sinks="renormalise")
    assert attention.workspace.options["sinks"] is SinkHandling.RENORMALISE
    assert packets(attention)["steer"]["goal"]["state"]["sinks"] == "renormalise"


def test_another_text_keeps_the_head_and_not_the_places(attention: App) -> None:
    look(attention, heads="L3H2", query=9, lockQuery=True)
    attention.set("text_area", "prompt", "The capital of France is").click("run")
    attention.tester.switch_page("pages/attention.py").run()
    state = packets(attention)["steer"]["goal"]["state"]
    assert (state["heads"], state["lockQuery"]) == ("L3H2", False)
    assert state["query"] == attention.workspace.selection.position


def test_a_link_of_another_page_leads_to_a_head(attention: App) -> None:
    start_attention_at(attention.workspace, 4, 1, query=7, key=2)
    attention.tester.run()
    goal = packets(attention)["steer"]["goal"]
    assert goal["n"] == 1
    assert {"heads": "L4H1", "query": 7, "key": 2, "lockQuery": True}.items() <= goal["state"].items()


@pytest.mark.parametrize(("do", "kind"), [("ablate", Ablate), ("cut", KnockOut)])
def test_a_head_is_edited_from_here(attention: App, do: str, kind: type) -> None:
    act(attention, do=do, layer=2, head=1, query=5, key=4)
    (card,) = attention.workspace.edits.cards
    assert isinstance(card.what, kind)
    assert card.what.layer == 2


def test_stale_words_of_the_picture_are_not_taken(attention: App) -> None:
    page.take_sight(attention.workspace, attention.workspace.shown, {"rev": "another", "heads": "L1H1"})
    assert KEPT not in attention.workspace.options


def test_types_of_heads_outlive_a_restart(attention: App, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("INTRAVISTO_HOME", str(tmp_path))
    workspace, shown = attention.workspace, attention.workspace.shown

    def read_as_after_a_restart():
        workspace.kept.clear()
        return head_types.read_head_types(workspace, shown)

    found = read_as_after_a_restart()
    (file,) = (tmp_path / "heads").iterdir()
    # other numbers in the file: then it is the file that is read
    marked = replace(found, previous=np.full_like(found.previous, 0.5), model="another name")
    file.write_bytes(pack_answer(marked))
    again = read_as_after_a_restart()
    assert np.array_equal(again.previous, marked.previous)
    assert again.model == shown.engine.model.name
    for wrong in (b"damaged", pack_answer(shown.trace.head_targets())):
        file.write_bytes(wrong)
        assert np.array_equal(read_as_after_a_restart().previous, found.previous)
    monkeypatch.setenv("INTRAVISTO_HOME", "off")
    file.unlink()
    read_as_after_a_restart()
    assert not list((tmp_path / "heads").iterdir())
