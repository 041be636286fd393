"""What an edit's vector reads back as: told by the form before the run, by the card after it."""

from __future__ import annotations

import pytest

import intravisto_core as iv
from tests.pages.conftest import App
from tests.pages.test_injection import PAGE, answer, other_answer, run_edits


def said(app: App) -> list[str]:
    """The lines about reading back, in order: cards, then the form."""
    return [e.proto.body for e in app.tester.get("html") if "read_back" in e.proto.body]


def fill(app: App, layer: int = 3, **values: object) -> str:
    app.tester.switch_page(PAGE).run()
    token = other_answer(app)
    app.set("text_input", "edit_token", token)
    app.set("selectbox", "edit_layer", layer)
    for name, value in values.items():
        app.set("selectbox", f"edit_{name}", value)
    app.assert_calm()
    return token.replace(" ", "")


def test_the_form_tells_before_the_run_and_the_card_after_it(app: App) -> None:
    token = fill(app)
    (before,) = said(app)
    assert "Will read back as" in before
    assert token in before
    assert "99.9\u00a0%" in before
    assert "misfit" not in before
    app.click("edit_add")
    assert len(said(app)) == 1  # the form again: nothing was run yet
    run_edits(app)
    card, _ = said(app)
    assert "reads back as" in card
    assert token in card


def test_the_main_component_says_where_it_raises_another_token(app: App) -> None:
    """One of the layers has a cell where the swap does not win; the form and the run agree on what wins."""
    here = app.workspace
    fill(app, strategy="main")
    at, trace, token = answer(app)[1], here.base.trace, " Italy"
    app.set("text_input", "edit_token", token)
    found = {
        layer: trace.read_back(iv.ReplaceMain("resid_post", layer, (at,), token=token))
        for layer in range(here.engine.model.n_layers)
    }
    for layer, record in found.items():
        app.set("selectbox", "edit_layer", layer)
        (line,) = said(app)
        assert ("misfit" in line) == (not record.reads_back[0])
        assert record.shown[int(record.ids[0, 0])].lstrip("␣") in line
    assert len({bool(record.reads_back[0]) for record in found.values()}) == 2


def test_at_attention_the_output_table_is_the_usual_vector(app: App) -> None:
    fill(app, stream_site=iv.Site.ATTN_OUT)
    assert app.tester.selectbox(key="edit_update_vector").value is iv.TokenVector.OUTPUT
    (line,) = said(app)
    assert "most" in line
    assert "%" not in line
    app.click("edit_add")
    assert app.workspace.edits.cards[0].what.lens is iv.TokenVector.OUTPUT


def test_several_places_are_told_together(app: App) -> None:
    token = fill(app)
    app.set("selectbox", "edit_span", "prompt")
    (line,) = said(app)
    n = app.workspace.base.trace.prompt_length
    assert f"at all {n} places" in line
    assert token in line


@pytest.mark.parametrize("vector", list(iv.TokenVector))
def test_every_vector_makes_a_card_that_can_be_changed_again(app: App, vector: iv.TokenVector) -> None:
    fill(app, vector=vector)
    app.click("edit_add")
    (card,) = app.workspace.edits.cards
    assert card.what.lens is vector
    app.click(f"card_Edit_{card.id}")
    assert app.tester.selectbox(key="edit_vector").value is vector
    app.click("edit_add")
    assert app.workspace.edits.cards[0].what == card.what


def test_there_is_one_primary_button(app: App) -> None:
    def primary() -> list[str]:
        return [b.key for b in app.tester.button if b.proto.type == "primary"]

    assert primary() == ["run"]
    fill(app)
    assert primary() == ["edit_add"]
    app.click("edit_add")
    assert primary() == ["edits_run"]
    run_edits(app)
    assert primary() == ["edit_add"]
    app.click(f"card_Edit_{app.workspace.edits.cards[0].id}")
    assert primary() == ["edit_add"]
