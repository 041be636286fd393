"""The stack of edits, the form's values, its files and its Python; without a page."""

from __future__ import annotations

import json

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.errors import RequestError
from intravisto_core.request import Generation, HeatmapView, Span, to_json
from intravisto_ui.parts import edit_python, edit_values
from intravisto_ui.session.edit_stack import Edits
from intravisto_ui.session.edit_tree import Card
from intravisto_ui.session.stack_file import read_stack, write_stack

STACK = (
    iv.Replace("resid_post", 3, (5,), token=" Paris"),
    iv.Replace("resid_pre", 0, "all", token=" Paris", lens="linear", match_norm=False),
    iv.ReplaceMain("mlp_out", 1, "prompt", token=" Rome", lens="input"),
    iv.Ablate("attn_out", 2, (5, 7)),
    iv.Ablate("z", 2, (5,), head=1, how="mean"),
    iv.Ablate("act", 2, "all", neuron=9),
    iv.Ablate("mlp_out", 0, (3,), how="resample", source="other"),
    iv.Steer("resid_post", 4, "all", direction=" love", strength=-2.0, unit="absolute"),
    iv.RemoveDirection("resid_mid", 4, (2,), direction=" love"),
    iv.SwapDirection("resid_mid", 4, (2,), source=" love", target=" hate"),
    iv.Patch("resid_pre", 0, (2, 3), source="other", source_positions=(4, 5), source_layer=1),
    iv.Scale("z", 2, (5,), head=1, factor=0.5),
    iv.SetValue("act", 2, (5,), neuron=3, value=4.0),
    iv.KnockOut(2, (5,), (0, 1), heads=(2,)),
    iv.KnockOut(2, "all", (0,)),
    iv.FreezePattern(1, heads=(0,)),
)
names = pytest.mark.parametrize("what", STACK, ids=lambda w: f"{type(w).__name__}")


def filled(*whats: object) -> Edits:
    edits = Edits()
    for what in whats:
        edits.add(what)
    return edits


@names
def test_the_form_gives_back_what_a_card_holds(what: iv.Replace) -> None:
    assert edit_values.build_intervention(edit_values.read_values(what)) == what


@names
def test_a_stack_survives_its_file(what: iv.Replace) -> None:
    assert read_stack(write_stack((Card(1, what), Card(2, what, on=False)))) == (
        (what, True),
        (what, False),
    )


def test_loading_a_stack_keeps_which_cards_are_on() -> None:
    edits = filled(*STACK[:3])
    edits.switch(edits.cards[1].id)
    again = Edits()
    again.load(read_stack(write_stack(edits.cards)))
    assert [(c.what, c.on) for c in again.cards] == [(c.what, c.on) for c in edits.cards]
    again.undo()
    assert not again.cards


DEEP = b"[" * 100_000
OTHER = [b"", b"[]", b"{}", b'{"cards": [1]}', b'{"cards": [{"edit": {"kind": "Bomb"}}]}', DEEP, b'{"cards": ' + DEEP]


@pytest.mark.parametrize("body", OTHER, ids=range(len(OTHER)))
def test_another_file_is_refused(body: bytes) -> None:
    with pytest.raises(iv.IntravistoError, match="expected"):
        read_stack(body)


@names
def test_an_edit_as_python_is_the_same_edit(what: iv.Replace) -> None:
    text = edit_python.write_intervention(what, {"other": "source"})
    made = eval(text, {"iv": iv, "source": "other", "np": np})
    assert made == what


def test_a_direction_travels_with_its_numbers() -> None:
    what = iv.Steer("resid_post", 1, (2,), direction=np.arange(4.0))
    assert eval(edit_python.write_intervention(what, {}), {"iv": iv, "np": np}) == what


def test_order_copy_switch_and_removal() -> None:
    edits = filled(*STACK[:3])
    first, second, third = (card.id for card in edits.cards)
    edits.move(third, -1)
    assert [c.id for c in edits.cards] == [first, third, second]
    edits.move(first, -1)
    assert [c.id for c in edits.cards] == [first, third, second]
    edits.duplicate(first)
    assert [c.what for c in edits.cards[:2]] == [STACK[0], STACK[0]]
    assert len({c.id for c in edits.cards}) == 4
    edits.switch(second)
    assert second not in {c.id for c in edits.active_cards()}
    edits.remove(third)
    assert [c.id for c in edits.cards if c.id in (first, second, third)] == [first, second]


def test_undo_and_redo_walk_through_every_stack() -> None:
    edits = Edits()
    seen = [edits.cards]
    for act in (
        lambda: edits.add(STACK[0]),
        lambda: edits.add(STACK[3]),
        lambda: edits.switch(edits.cards[0].id),
        lambda: edits.move(edits.cards[1].id, -1),
        lambda: edits.replace_card(edits.cards[0].id, STACK[4]),
        lambda: edits.remove(edits.cards[1].id),
    ):
        act()
        seen.append(edits.cards)
    for stack in reversed(seen[:-1]):
        edits.undo()
        assert edits.cards == stack
    edits.undo()
    for stack in seen[1:]:
        edits.redo()
        assert edits.cards == stack
    edits.undo()
    edits.add(STACK[5])
    assert not edits.future


def test_saving_a_card_that_was_removed_adds_it() -> None:
    edits = filled(STACK[0])
    edits.replace_card(99, STACK[3])
    assert [c.what for c in edits.cards] == [STACK[0], STACK[3]]


def test_outlines_tell_the_kinds_apart() -> None:
    assert [str(w.kind) for w in (STACK[0], STACK[3], STACK[11], STACK[13])] == [
        "injected",
        "ablated",
        "scaled",
        "ablated",
    ]


@pytest.mark.parametrize(
    ("change", "needed"),
    [({"token": ""}, "token"), ({"positions": []}, "positions")],
)
def test_what_the_form_lacks_is_named(change: dict[str, object], needed: str) -> None:
    values = edit_values.read_values(STACK[0]) | change
    with pytest.raises(RequestError, match=needed):
        edit_values.build_intervention(values)


def test_a_typed_list_of_positions() -> None:
    assert edit_values.parse_positions(" 3, 5 -1") == (3, 5, -1)
    with pytest.raises(RequestError, match="3, 5, -1"):
        edit_values.parse_positions("3 to 5")


@pytest.mark.parametrize("card", [HeatmapView("an id"), Span(0, 2), Generation()], ids=lambda c: type(c).__name__)
def test_a_stack_holds_interventions_alone(card) -> None:
    body = json.dumps({"cards": [{"edit": json.loads(to_json(card)), "on": True}]}).encode()
    with pytest.raises(RequestError, match=f"holds a {type(card).__name__}"):
        read_stack(body)
