"""Edits name places of a text: another prompt sets them aside, and an earlier run brings them back with its results."""

from __future__ import annotations

from dataclasses import replace

import pytest

import intravisto_core as iv
from intravisto_core.records import Token
from intravisto_core.sites import TokenKind
from intravisto_ui.session.edit_stack import Look, SetAside
from intravisto_ui.session.edit_tree import Card
from intravisto_ui.session.re_aim import Aimed, re_aim
from tests.pages.conftest import App
from tests.pages.test_injection import PAGE, run_edits

SPAIN = "Q: What is the capital of Spain? A:"


def text(words: str) -> tuple[Token, ...]:
    return tuple(Token(i, w, w, i, True, False, TokenKind.WORD) for i, w in enumerate(words.split()))


def aside(words: str) -> SetAside:
    tokens = text(words)
    return SetAside((), tokens, len(tokens), words)


@pytest.mark.parametrize(
    ("at", "there", "missing"),
    [
        ((2,), (4,), ()),
        ((0, 2), (0, 4), ()),
        ((3,), (5,), ()),  # the second "a" is the last one there
        ((5,), (5,), ("of",)),  # the last token of the prompt
        ((1,), (1,), ("cat",)),
        ((-1,), (-1,), ()),
        ("prompt", "prompt", ()),
        (iv.Span(2, 4), (4, 5), ()),
        (iv.Span(-2, 0), iv.Span(-2, 0), ()),
    ],
)
def test_places_go_to_the_same_tokens(at: object, there: object, missing: tuple[str, ...]) -> None:
    was, now = aside("a cat sees a dog of"), text("a dog and it sees a")
    found = re_aim(iv.Ablate("attn_out", 1, at), was, now, len(now))
    assert found == Aimed(iv.Ablate("attn_out", 1, there), missing)


def test_queries_and_keys_move_each_for_themselves() -> None:
    was, now = aside("a cat sees dogs"), text("the cat that sees dogs")
    found = re_aim(iv.KnockOut(1, queries=(3,), keys=(1, 2)), was, now, len(now))
    assert found.what == iv.KnockOut(1, queries=(4,), keys=(1, 3))


def test_a_text_that_is_too_short_has_no_place() -> None:
    was, now = aside("a cat sees dogs"), text("I")
    assert re_aim(iv.Ablate("attn_out", 1, (2,)), was, now, 1).what is None


def test_another_prompt_sets_the_edits_aside(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    app.set("text_area", "prompt", "1 2 3 4 5 6").click("run")
    assert (here.edits.cards, here.edits.runs, here.edits.look) == ((), {}, Look.BASELINE)
    assert [c.what for c in here.edits.aside.cards] == [c.what for c in node.cards]
    app.tester.switch_page(PAGE).run()
    app.assert_calm()
    said = app.html()
    assert "1 edit of “Q: What is the capital of Italy? A:” is not run here" in said
    assert "this text has no ‘␣of’" in said
    assert any("1 set aside" in link.proto.label for link in app.tester.get("page_link"))


def test_edits_are_taken_over_at_the_same_token(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    app.set("text_area", "prompt", "Q: Of what is Rome the capital? A: It is the capital of").click("run")
    app.tester.switch_page(PAGE).run()
    at = here.base.trace.prompt_length - 1
    assert here.base.trace.tokens[at].shown == "␣of"
    assert f"here: position {at} ‘␣of’ (last of the prompt)" in app.html()
    app.click("edits_take_over")
    assert [c.what for c in here.edits.cards] == [iv.Ablate("attn_out", 2, (at,))]
    assert here.edits.aside is None
    app.click("edits_undo")
    assert not here.edits.cards


def test_what_is_forgotten_is_gone_here_and_stays_with_its_text(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    first = here.base
    app.set("text_area", "prompt", SPAIN).click("run")
    app.tester.switch_page(PAGE).run()
    app.click("edits_forget")
    assert here.edits.aside is None
    assert "Set aside" not in app.html()
    assert here.show_again(first)
    assert len(here.edits.cards) == 1


def test_an_earlier_run_comes_with_its_results_and_tree(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    app.tester.switch_page(PAGE).run()
    first, node = here.base, run_edits(app)
    app.set("text_area", "prompt", SPAIN).click("run")
    here.edits.add(iv.Scale("mlp_out", 1, (4,), factor=2.0))
    app.click("recent1")
    assert here.base.trace.id == first.trace.id
    assert here.edits.runs == {node.id: node}
    assert here.edits.current_node() is node
    assert here.shown.trace.id == node.held.id
    assert here.edits.aside is None
    app.tester.run()
    app.assert_calm()
    assert "noise floor" in app.html()
    app.click("recent0")
    assert [c.what for c in here.edits.cards] == [iv.Scale("mlp_out", 1, (4,), factor=2.0)]


def test_the_same_prompt_run_otherwise_keeps_its_edits(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    app.set("number_input", "max_new_tokens", 3).click("run")
    assert len(here.edits.cards) == 1
    assert here.edits.aside is None


def test_edits_wait_through_a_prompt_that_has_none(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    for prompt in (SPAIN, "1 2 3 4 5 6"):
        app.set("text_area", "prompt", prompt).click("run")
        assert len(here.edits.aside.cards) == 1
        assert here.edits.aside.prompt == "Q: What is the capital of Italy? A:"


def test_tokens_in_the_form_follow_the_prompt(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    app.set("selectbox", "edit_kind", "attention")
    app.set("multiselect", "edit_keys", [3, 4])
    app.set("multiselect", "edit_positions", [6])
    app.set("text_area", "prompt", SPAIN).click("run")
    last = app.workspace.base.trace.prompt_length - 1
    assert app.tester.multiselect(key="edit_keys").value == [0]
    assert app.tester.multiselect(key="edit_positions").value == [last]
    app.click("recent1")
    assert app.tester.multiselect(key="edit_keys").value == [3, 4]
    assert app.tester.multiselect(key="edit_positions").value == [6]


def test_a_cell_goes_into_the_form_of_the_prompt_that_is_shown(app: App) -> None:
    """The form was last drawn for another prompt when the cell is put into it."""
    app.tester.switch_page(PAGE).run()
    app.tester.switch_page("pages/heatmap.py").run()
    app.set("text_area", "prompt", SPAIN).click("run")
    here = app.workspace
    here.select({"rev": here.base.trace.id, "row": 4, "position": 5, "n": here.selection.n + 1})
    app.tester.run()
    app.tester.button(key="inject_here").click().run()
    app.settle()
    assert app.tester.multiselect(key="edit_positions").value == [5]


def test_runs_that_are_no_longer_listed_let_go_of_their_edits(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    app.tester.switch_page(PAGE).run()
    node, first = run_edits(app), here.base
    app.set("text_area", "prompt", SPAIN).click("run")
    here.past.remove(next(p for p in here.past if p.trace.id == first.trace.id))
    app.set("text_area", "prompt", "1 2 3").click("run")
    assert first.trace.id not in here.edit_shelf.of
    with pytest.raises(iv.TraceError):
        node.held.pin()


def test_a_copy_of_a_workspace_takes_the_edits_along(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (7,)))
    other = replace(here, id="other", edits=type(here.edits)(), base=None, past=[])
    here.copy_into(other)
    assert other.edits.cards == here.edits.cards
    assert isinstance(other.edits.cards[0], Card)
