"""The question of the frame: one target, contrast and position for all pages, which follows the prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import intravisto_core as iv
from intravisto_core.request import CompareView
from intravisto_core.sites import Colour
from intravisto_ui.flow import attribution, link_check
from intravisto_ui.parts import question_bar
from intravisto_ui.session.asked import Against, Asked
from intravisto_ui.session.question import SAME, find_asked_question, find_question
from tests.pages.conftest import App

OTHER = "Q: What is the capital of France? A:"


def shows(app: App) -> Any:
    return find_question(app.workspace, app.workspace.shown)


def run_prompt(app: App, text: str) -> App:
    app.tester.text_area(key="prompt").set_value(text).run()
    return app.click("run")


def test_it_is_what_the_text_goes_on_with_and_the_runner_up(app: App) -> None:
    trace = app.workspace.shown.trace
    at = trace.prompt_length - 1
    odds = trace.next_tokens(at, n=2)
    found = shows(app)
    assert (found.position, found.target.id) == (at, trace.tokens[at + 1].id)
    assert found.contrast == found.runner_up == found.rival
    assert found.runner_up.id == next(i for i in odds.token_ids.tolist() if i != found.target.id)
    assert found.target.typed == trace.tokens[at + 1].text
    assert f"after position {at}" in app.html()


def test_an_open_question_follows_the_selected_position_and_a_typed_one_keeps_its_tokens(app: App) -> None:
    trace = app.workspace.shown.trace
    app.workspace.select({"row": 3, "position": 4, "rev": trace.id, "n": 9})
    says = int(trace.next_tokens(4, n=1).token_ids[0])
    assert (shows(app).position, shows(app).target.id) == (4, says)
    app.tester.run()
    app.ask(target=" Paris", contrast=" Rome").assert_calm()
    app.workspace.select({"row": 3, "position": 6, "rev": trace.id, "n": 10})
    found = shows(app)
    assert (found.position, found.target.typed, found.contrast.typed) == (6, " Paris", " Rome")


def test_what_judges_the_whole_run_stays_at_the_answer_while_cells_are_clicked(app: App) -> None:
    here, trace = app.workspace, app.workspace.shown.trace
    at = trace.prompt_length - 1
    app.set("selectbox", "colour", Colour.PROBABILITY)
    name = app.picture()["colourName"]
    here.select({"row": 3, "position": 4, "rev": trace.id, "n": 9})
    app.tester.run()
    assert app.picture()["colourName"] == name
    assert find_asked_question(here, here.shown).position == at
    here.select({"row": 7, "position": at + 1, "target": at + 2, "rev": trace.id, "n": 10})
    assert find_asked_question(here, here.shown).target.id == trace.tokens[at + 2].id


def test_a_clicked_generated_token_is_the_whole_question(app: App) -> None:
    here, trace = app.workspace, app.workspace.shown.trace
    app.ask(target=" Paris", contrast=" Rome")
    target = trace.prompt_length + 1
    here.select({"row": 7, "position": target - 1, "target": target, "rev": trace.id, "n": 9})
    assert (shows(app).target.id, shows(app).position) == (trace.tokens[target].id, target - 1)
    assert here.asked.target == here.asked.contrast == ""
    app.tester.run()
    assert app.tester.text_input(key=f"question_target_{here.asked.n}").value == ""


def test_all_pages_ask_the_same(app: App) -> None:
    here = app.workspace
    app.ask(target=" Paris", contrast=" London")
    pair = (" Paris", " London")
    view = attribution.build_view(here, here.shown)
    assert (view.target, view.contrast) == pair
    app.set("selectbox", "colour", Colour.RANK)
    assert app.picture()["colourName"] == "rank of ␣Paris"
    effect = link_check.read_effect(here, here.shown, -1)
    assert (effect.target, effect.contrast) == pair
    here.edits.add(iv.Ablate("attn_out", 4, (here.shown.trace.prompt_length - 1,)))
    app.tester.switch_page("pages/injection.py").run()
    app.click("edits_run")
    for job in list(here.edits.current_node().jobs.values()):
        job.result(timeout=60)
    here.edits.current_node().collect()
    app.tester.run()
    app.assert_calm()
    compared = next(view for view in here.kept if isinstance(view, CompareView))
    assert (compared.target, compared.contrast, compared.position) == (*pair, here.shown.trace.prompt_length - 1)


def test_another_prompt_begins_anew_and_an_earlier_run_brings_its_own_back(app: App) -> None:
    here = app.workspace
    first = here.base
    app.ask(target=" Paris", contrast=" London")
    run_prompt(app, OTHER)
    assert here.base is not first
    assert (here.asked.target, here.asked.contrast) == ("", "")
    trace = here.shown.trace
    assert shows(app).target.id == trace.tokens[trace.prompt_length].id
    assert app.tester.text_input(key=f"question_target_{here.asked.n}").value == ""
    app.ask(contrast=" Rome")
    assert here.show_again(first)
    assert (here.asked.target, here.asked.contrast) == (" Paris", " London")
    app.tester.run()
    assert app.tester.text_input(key=f"question_contrast_{here.asked.n}").value == " London"


def test_the_same_prompt_run_again_keeps_what_is_asked(app: App) -> None:
    app.ask(target=" Paris")
    app.set("number_input", "max_new_tokens", 2)
    app.click("run").assert_calm()
    assert app.workspace.asked.target == " Paris"


def test_a_question_that_cannot_be_is_put_right_and_said(app: App) -> None:
    app.ask(target=" Paris", contrast=" Paris").assert_calm()
    found = shows(app)
    assert found.contrast == found.runner_up
    assert found.note == SAME
    assert SAME in app.html()
    app.ask(target=" Paris and Rome").assert_calm()
    assert "The first, ␣Paris, is taken." in app.html()
    assert isinstance(shows(app).target.typed, int)


def test_the_mean_of_all_tokens_is_on_offer_and_reset_takes_all_back(app: App) -> None:
    here = app.workspace
    app.set("segmented_control", f"question_against_{here.asked.n}", Against.MEAN)
    assert shows(app).contrast is None
    assert shows(app).rival == shows(app).runner_up
    app.ask(target=" Paris")
    app.click("question_reset").assert_calm()
    assert (here.asked.target, here.asked.against, here.asked.position) == ("", Against.RUNNER_UP, None)


def test_a_token_can_be_named_by_its_id(app: App) -> None:
    here = app.workspace
    id = here.shown.engine.tokenize(" London", add_special_tokens=False)[0].id
    question_bar.ask(here, lambda _: Asked(target=id))
    assert (shows(app).target.shown, shows(app).target.typed) == ("␣London", " London")


def test_an_edited_run_is_asked_what_its_baseline_is_asked(app: App) -> None:
    here = app.workspace
    before = shows(app)
    held = here.base.trace.edit(iv.Ablate("resid_post", 5, (before.position,), how="zero"))
    edited = replace(here.base, trace=held)
    assert find_question(here, edited) == before
    assert int(held.next_tokens(before.position, n=1).token_ids[0]) != before.target.id
