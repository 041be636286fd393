"""The injection page: an edit is made, run, looked at from every side, taken back."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.figures import numbers
from intravisto_core.models import directions
from intravisto_ui.injection import moved_tokens
from intravisto_ui.parts import edit_python, export_menu
from intravisto_ui.session.edit_stack import Look
from intravisto_ui.session.edit_tree import EditRun
from intravisto_ui.session.question import find_asked_question
from intravisto_ui.session.stack_file import read_stack, write_stack
from intravisto_ui.session.text import escape_html
from tests.pages.conftest import SECONDS, App
from tests.reference.equal import assert_close

PAGE = "pages/injection.py"


def answer(app: App) -> tuple[str, int]:
    """What the demo model says after its first prompt, and at which position."""
    trace = app.workspace.base.trace
    at = trace.prompt_length - 1
    return trace.tokens[at + 1].text, at


def other_answer(app: App) -> str:
    """What it says of another country: a token to put in the answer's place."""
    trace = app.workspace.engine.trace("Q: What is the capital of France? A:", 1)
    return trace.tokens[-1].text


def run_edits(app: App) -> EditRun:
    app.click("edits_run")
    node = finished(app)
    app.assert_calm()
    return node


def finished(app: App) -> EditRun:
    """The run that was just begun, when nothing of it is under way any more."""
    node = app.workspace.edits.current_node()
    deadline = time.monotonic() + SECONDS
    while not node.ended:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        node.collect()
    app.tester.run()
    return node


def at_the_answer(app: App, token: str) -> iv.ReplaceMain:
    n_layers = app.workspace.engine.model.n_layers
    return iv.ReplaceMain("resid_post", n_layers - 1, (answer(app)[1],), token=token)


def test_the_page_begins_with_what_to_do(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    app.assert_calm()
    assert "No edits yet" in app.html()
    assert [b.key for b in app.tester.button if b.key and b.key.startswith(("edits_run", "try_"))] == [
        "try_answer",
        "try_part",
        "try_word",
    ]


def test_injecting_another_answer_changes_the_answer(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    token = other_answer(app)
    was, at = answer(app)
    assert token != was
    n_layers = app.workspace.engine.model.n_layers
    app.set("text_input", "edit_token", token)
    app.set("selectbox", "edit_layer", n_layers - 1)
    app.set("multiselect", "edit_positions", [at])
    app.click("edit_add")
    app.assert_calm()
    card = app.workspace.edits.cards[0]
    assert card.what == iv.Replace("resid_post", n_layers - 1, (at,), token=token)
    node = run_edits(app)
    assert node.free.tokens[at + 1].text == token
    text = app.html()
    assert "Edited writes" in text
    assert token.strip() in text
    assert "noise floor" in text


def test_every_kind_of_edit_has_its_form(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    for kind in ("ablate", "steer", "patch", "scale", "attention", "inject"):
        app.set("selectbox", "edit_kind", kind)
        app.assert_calm()


def test_a_form_that_lacks_something_says_so_and_keeps_what_was_typed(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    app.click("edit_add")
    assert "expected a text to inject" in app.html()
    assert not app.workspace.edits.cards
    app.set("selectbox", "edit_kind", "ablate").click("edit_add")
    assert len(app.workspace.edits.cards) == 1


def test_tokens_that_moved_are_listed_by_their_probability(app: App) -> None:
    here, (was, at) = app.workspace, answer(app)
    token = other_answer(app)
    here.edits.add(iv.Replace("resid_post", here.engine.model.n_layers - 1, (at,), token=token))
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    found = moved_tokens.find_moved(here, here.base, node.held, at)
    assert {name.lstrip("␣") for name, _, _ in found[:2]} == {was.strip(), token.strip()}
    changes = [abs(after - before) for _, before, after in found]
    assert changes == sorted(changes, reverse=True)
    top = [float(t.heatmap(rows=[-1], positions=[at], top_k=1).p_max[0, 0]) for t in (here.base.trace, node.held)]
    by_name = {name.lstrip("␣"): (before, after) for name, before, after in found}
    assert by_name[was.strip()][0] == pytest.approx(top[0])
    assert by_name[token.strip()][1] == pytest.approx(top[1])
    assert "next tokens that moved most" in app.html()


def test_the_switch_shows_baseline_edited_and_difference(app: App) -> None:
    here = app.workspace
    here.edits.add(at_the_answer(app, other_answer(app)))
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    assert here.edits.look == Look.DIFFERENCE
    assert here.shown.trace.id == node.held.id
    app.tester.switch_page("pages/heatmap.py").run()
    app.assert_calm()
    assert "grid" in " ".join(app.components())
    for look, trace in ((Look.EDITED, node.held), (Look.BASELINE, here.base.trace), (Look.DIFFERENCE, node.held)):
        here.edits.look = look
        app.tester.run()
        app.assert_calm()
        assert here.shown.trace.id == trace.id


def test_the_tree_returns_to_any_run(app: App) -> None:
    here = app.workspace
    here.edits.add(at_the_answer(app, other_answer(app)))
    app.tester.switch_page(PAGE).run()
    first = run_edits(app)
    here.edits.add(iv.Ablate("attn_out", 2, (3,)))
    second = run_edits(app)
    assert (first.parent, second.parent) == (0, first.id)
    labels = [app.tester.button(key=f"node_{node.id}").label for node in (first, second)]
    assert "main component" in labels[0]
    assert "+ layer 2, position 3, attention: taken away" in labels[1]
    assert "main component" not in labels[1]
    app.click(f"node_{first.id}")
    assert here.edits.current_node() is first
    assert [c.what for c in here.edits.active_cards()] == [c.what for c in first.cards]
    app.click("node_0")
    assert here.edits.current_node() is None
    assert here.shown is here.base
    assert "Compare two runs" in [e.label for e in app.tester.expander] or not app.tester.expander
    app.click(f"node_{second.id}").assert_calm()


def test_undo_takes_back_and_redo_brings_again(app: App) -> None:
    app.workspace.edits.add(iv.Ablate("attn_out", 2, (3,)))
    app.tester.switch_page(PAGE).run()
    app.click("edits_undo")
    assert not app.workspace.edits.cards
    app.click("edits_redo")
    assert len(app.workspace.edits.cards) == 1


@pytest.mark.parametrize("wrong", [iv.Ablate("attn_out", 99, (3,)), iv.Ablate("attn_out", 2, (99,))])
def test_an_edit_that_does_not_fit_is_refused_and_nothing_is_lost(app: App, wrong: iv.Ablate) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (3,)))
    here.edits.add(wrong)
    app.tester.switch_page(PAGE).run()
    base = here.base
    app.click("edits_run")
    finished(app)
    assert "This cannot be run as it stands" in app.html()
    assert app.html().count("99") > 1
    assert len(here.edits.cards) == 2
    assert here.shown is base


def test_an_edit_that_does_nothing_changes_nothing(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Scale("attn_out", 2, (3,), factor=1.0))
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    compared = here.base.trace.compare(node.held)
    assert np.nanmax(compared.kl) <= compared.noise["kl"]
    assert node.free.text == here.base.trace.text


def test_a_place_on_the_heatmap_becomes_an_edit(app: App) -> None:
    here = app.workspace
    here.select({"rev": here.base.trace.id, "row": 4, "position": 5, "n": here.selection.n + 1})
    app.tester.run()
    app.tester.button(key="ablate_here_add").click().run()
    app.settle()
    assert [c.what for c in here.edits.cards] == [iv.Ablate("resid_post", 3, (5,))]
    assert not here.edits.runs
    app.assert_calm()
    assert "layer 3" in app.html()


def test_an_ablation_that_is_offered_runs_at_once(app: App) -> None:
    here = app.workspace
    here.select({"rev": here.base.trace.id, "row": 4, "position": 5, "n": here.selection.n + 1})
    app.tester.run()
    app.tester.button(key="ablate_here_run").click().run()
    app.settle()
    node = finished(app)
    assert [c.what for c in node.cards] == [iv.Ablate("resid_post", 3, (5,))]
    assert "noise floor" in app.html()


def copied_lines(here, node) -> str:
    """The lines that make an edited run again and save its comparison."""
    return "\n".join((*edit_python.write_edited_run(here.base, node.cards), *edit_python.write_comparison()))


def run_copied(here, node, tmp_path, monkeypatch) -> dict[str, object]:
    """What the copied lines make, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(copied_lines(here, node), scope)
    assert (tmp_path / "difference.html").stat().st_size > 1000
    return scope


def test_copied_python_makes_the_same_run(app: App, tmp_path, monkeypatch) -> None:
    here = app.workspace
    here.edits.add(at_the_answer(app, other_answer(app)))
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    made = run_copied(here, node, tmp_path, monkeypatch)["edited"]
    assert_close(made.logits(answer(app)[1]), node.held.logits(answer(app)[1]))


DONOR = "Q: What is the capital of France? A:"


def every_kind(at: int) -> tuple[iv.Intervention, ...]:
    """One edit of each kind that goes together on the demo model."""
    last = {"layer": 5, "positions": (at,)}
    return (
        iv.Patch("resid_pre", 0, (8,), source=DONOR),
        iv.Patch("attn_out", 1, (8,), source=DONOR, source_positions=(7,), source_layer=2),
        iv.Ablate("mlp_out", 2, (3,), how="resample", source=DONOR),
        iv.Ablate("mlp_out", 1, (4,), how="mean"),
        iv.Ablate("z", 2, (5,), head=1),
        iv.Ablate("act", 3, "all", neuron=9, how="mean", source=iv.PromptSet("two", [DONOR, "1 2 3"])),
        iv.Steer("resid_mid", 2, (at,), direction=" Rome", strength=-0.5),
        iv.Steer("resid_post", 1, iv.Span(2, 4), direction=np.arange(128.0) - 60, unit="absolute"),
        iv.RemoveDirection("resid_post", 3, "prompt", direction=" Kyiv"),
        iv.SwapDirection("resid_post", 3, (at,), source=" Rome", target=" Paris"),
        iv.Scale("mlp_out", 4, iv.Generated(0), factor=0.5),
        iv.SetValue("act", 2, (5,), neuron=3, value=4.0),
        iv.KnockOut(2, (at,), (0, 1), heads=(2,)),
        iv.FreezePattern(4),
        iv.ReplaceMain("resid_mid", 4, (at,), token=" Paris", lens="linear"),
        iv.Replace("resid_post", **last, token=" Paris", lens="quadratic", match_norm=False),
    )


def test_copied_python_makes_the_same_run_of_every_kind(app: App, tmp_path, monkeypatch) -> None:
    """All kinds in one stack: prompts that values come from, sets of prompts, arrays."""
    here, (_, at) = app.workspace, answer(app)
    for what in every_kind(at):
        here.edits.add(what)
    app.tester.switch_page(PAGE).run()
    node = run_edits(app)
    scope = run_copied(here, node, tmp_path, monkeypatch)
    assert_close(scope["edited"].logits(at), node.held.logits(at))
    assert len(scope["edited"].interventions) == len(here.edits.cards)
    exec("\n".join(edit_python.write_shown_run(here, here.shown)), scope)
    assert_close(scope["trace"].logits(at), node.held.logits(at))


def test_cards_that_name_a_prompt_work_on_another_prompt_too(app: App) -> None:
    """Each run traces the other prompt anew where it is not at hand."""
    here = app.workspace
    here.edits.add(iv.Patch("resid_pre", 0, (8,), source=DONOR))
    app.tester.switch_page(PAGE).run()
    first = run_edits(app)
    assert "of “Q: What is the capital of France? A:”" in app.html()
    assert first.free.text != here.base.trace.text
    app.set("text_area", "prompt", "Q: What is the capital of Spain? A:").click("run")
    app.tester.switch_page(PAGE).run()
    assert "this text has no ‘␣Italy’" in app.html()
    app.click("edits_take_over")
    second = run_edits(app)
    donor = here.edits.sources[DONOR]
    expected = here.base.trace.edit(iv.Patch("resid_pre", 0, (8,), source=donor.id))
    assert np.array_equal(second.held.logits(), expected.logits())
    assert first.held.id != second.held.id


def test_a_prompt_that_cannot_be_run_is_told_and_nothing_is_lost(app: App) -> None:
    here = app.workspace
    here.edits.add(iv.Patch("resid_pre", 0, (8,), source="x " * 300))
    app.tester.switch_page(PAGE).run()
    app.click("edits_run")
    assert "This cannot be run as it stands" in app.html()
    assert "at most 128 tokens" in app.html()
    assert here.edits.current_node() is None
    assert len(here.edits.cards) == 1


def test_what_does_not_fit_is_told_in_the_form_and_on_the_card(app: App) -> None:
    """With the range, before anything is run; what was typed stays."""
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 99, (3,)))
    app.tester.switch_page(PAGE).run()
    assert "Does not fit this text: layer: expected 0 to 5" in app.html()
    app.set("selectbox", "edit_kind", "patch")
    app.set("text_area", "edit_source", DONOR)
    app.set("text_input", "edit_source_positions", "3 99")
    app.click("edit_add")
    assert "tokens of the other prompt: expected -12 to 11" in app.html()
    assert len(here.edits.cards) == 1
    assert app.tester.text_area(key="edit_source").value == DONOR
    app.set("text_input", "edit_source_positions", "3").click("edit_add")
    assert len(here.edits.cards) == 2


@pytest.mark.parametrize("name", ["answer", "part", "word"])
def test_an_experiment_to_begin_with(app: App, name: str) -> None:
    here = app.workspace
    was, at = answer(app)
    app.tester.switch_page(PAGE).run()
    app.click(f"try_{name}")
    node = finished(app)
    app.assert_calm()
    assert len(here.edits.cards) == 1
    assert escape_html(node.story) in app.html()
    moved = here.base.trace.compare(node.held, position=at)
    change = float(moved.edited_logit_difference[at] - moved.logit_difference[at])
    assert change < -1
    if name == "answer":
        assert node.free.tokens[at + 1].text != was


def test_a_card_says_which_tokens_and_which_main_component(app: App) -> None:
    here, (was, at) = app.workspace, answer(app)
    here.edits.add(at_the_answer(app, " Paris"))
    app.tester.switch_page(PAGE).run()
    said = f"layer 5, position {at} ‘:’ (last of the prompt), block output: the main component ␣{was.strip()} becomes"
    assert f"{said} ␣Paris" in app.html()


def test_several_tokens_are_averaged_and_it_is_said(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    app.set("text_input", "edit_token", " Paris Rome")
    assert "2 tokens" in app.html()
    assert "Their mean is put in." in app.html()
    assert "The first" not in app.html()


def test_a_comparison_is_taken_away_as_files_and_lines(app: App, tmp_path, monkeypatch) -> None:
    """The page and the lines are of what is chosen: the component, the two tokens."""

    here, made = app.workspace, []
    monkeypatch.setattr(export_menu, "draw_menu", lambda *args, **more: made.append(args))
    here.edits.add(iv.Ablate("attn_out", 4, (answer(app)[1],)))
    app.tester.switch_page(PAGE).run()
    assert not made
    node = run_edits(app)
    app.set("selectbox", "effect_component", iv.Component.MLP).ask(target=" Rome")
    _, base, session, view, _, lines, options = made[-1]
    assert (view.edited, view.component, view.target) == (node.held.id, "mlp", " Rome")
    assert [(m.row, m.kind) for m in options()["marks"]] == [(5, "ablated")]
    page = export_menu.render_file(base, session, view, export_menu.FileKind.HTML, options)
    assert b"What the edits changed" in page
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec("\n".join(lines), scope)
    assert "MLP" in (tmp_path / "difference.html").read_text()
    edited = edit_python.write_edited_run(here.base, node.cards)
    assert lines[: len(edited)] == edited


def test_any_two_runs_are_compared(app: App) -> None:
    here, at = app.workspace, answer(app)[1]
    here.edits.add(iv.Ablate("attn_out", 4, (at,)))
    app.tester.switch_page(PAGE).run()
    first = run_edits(app)
    here.edits.add(iv.Ablate("mlp_out", 4, (at,)))
    second = run_edits(app)
    assert app.tester.selectbox(key="compare_this").value == first.id
    app.set("selectbox", "compare_this", second.id).set("selectbox", "compare_with", first.id)
    app.assert_calm()
    asked = find_asked_question(here, here.base)
    own = second.held.compare(first.held, asked.target.typed, asked.rival.typed, position=at)
    tables = app.html().split('<table class="effects">')[1:]
    assert len(tables) == 2
    change = float(own.edited_logit_difference[at] - own.logit_difference[at])
    assert numbers.change(change) in tables[1]
    app.set("selectbox", "compare_with", second.id)
    assert "Choose two different runs" in app.html()


def choose_ablation(app: App, how: str) -> None:
    app.tester.switch_page(PAGE).run()
    app.set("selectbox", "edit_kind", "ablate").set("selectbox", "edit_how", how)


def test_a_mean_over_a_set_of_prompts_from_the_form_to_the_file(app: App) -> None:
    """In the form, on the card, in the run, in a saved stack, in the lines, and back in the form."""
    here = app.workspace
    choose_ablation(app, "set")
    app.click("edit_add")
    assert "prompts: expected at least one" in app.html()
    app.set("text_area", "edit_set", f"{DONOR}\n\n  \n1 2 3").set("text_input", "edit_set_name", "two <b>")
    app.set("selectbox", "edit_layer", 2).set("multiselect", "edit_positions", [3]).click("edit_add")
    wanted = iv.Ablate("attn_out", 2, (3,), how="mean", source=iv.PromptSet("two <b>", [DONOR, "1 2 3"]))
    assert [card.what for card in here.edits.cards] == [wanted]
    said = "its mean over “two <b>” in its place (of “Q: What is the capital of France? A:” and 1 more)"
    assert escape_html(said) in app.html()
    node = run_edits(app)
    engine = here.engine
    rows = [engine.trace(p, 0).activation("attn_out", 2) for p in (DONOR, "1 2 3")]
    assert np.allclose(node.held.activation("attn_out", 2)[3], np.concatenate(rows).mean(0), atol=1e-5)
    assert read_stack(write_stack(here.edits.cards)) == ((wanted, True),)
    assert "source=iv.PromptSet(name='two <b>', prompts=(" in copied_lines(here, node)
    app.set("text_area", "edit_set", "something else")
    app.click(f"card_Edit_{here.edits.cards[0].id}")
    assert app.tester.selectbox(key="edit_how").value == "set"
    assert app.tester.text_area(key="edit_set").value == f"{DONOR}\n1 2 3"
    app.set("text_input", "edit_set_name", "").click("edit_add")
    assert here.edits.cards[0].what.source == iv.PromptSet("2 prompts", [DONOR, "1 2 3"])


@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_the_other_ways_to_ablate_come_back_into_the_form(app: App, how: str) -> None:
    here = app.workspace
    here.edits.add(iv.Ablate("attn_out", 2, (3,), how=how, source=DONOR if how == "resample" else None))
    choose_ablation(app, "set")
    app.click(f"card_Edit_{here.edits.cards[0].id}")
    assert app.tester.selectbox(key="edit_how").value == how
    was = here.edits.cards[0].what
    app.click("edit_add")
    assert [card.what for card in here.edits.cards] == [was]


def direction(app: App, name: str = "up", width: int | None = None) -> iv.ConceptDirection:
    vector = np.zeros(width or app.workspace.engine.model.d_model, np.float32)
    vector[3] = 1
    return iv.ConceptDirection(name, vector, "2 prompts <b>", "another model", 4.5, "resid_post", 2)


def to_directions(app: App) -> None:
    app.tester.switch_page(PAGE).run()
    app.set("selectbox", "edit_kind", "steer")
    app.tester.segmented_control(key="edit_direction_from").set_value("saved").run()
    app.assert_calm()


def upload(app: App, body: bytes) -> None:
    app.tester.file_uploader(key="edit_direction_load").set_value(("x.safetensors", body, "")).run()


def test_a_direction_is_loaded_used_and_saved(app: App) -> None:
    here, found = app.workspace, direction(app)
    to_directions(app)
    assert "None is here yet" in app.html()
    here.edits.directions["mine"] = direction(app, "mine")
    upload(app, directions.written(found))
    app.assert_calm()
    assert list(here.edits.directions) == ["mine", "up"]
    assert app.tester.selectbox(key="edit_direction_saved").value == "up"
    assert escape_html("2 prompts <b>; made on another model") in app.html()
    app.set("multiselect", "edit_positions", [3]).click("edit_add")
    assert np.array_equal(here.edits.cards[0].what.direction.content, found.vector)
    assert app.tester.get("download_button")
    back = directions.read(directions.written(here.edits.directions["up"]), here.engine.model.d_model)
    assert (back.made_of, back.model, back.strength, back.layer) == ("2 prompts <b>", "another model", 4.5, 2)
    assert np.array_equal(back.vector, found.vector)


def test_a_file_that_is_no_direction_is_told_and_nothing_is_lost(app: App) -> None:
    here = app.workspace
    here.edits.directions["mine"] = direction(app, "mine")
    here.edits.add(iv.Steer("resid_post", 2, (3,), direction=here.edits.directions["mine"]))
    to_directions(app)
    whole = directions.written(direction(app))
    bad = {
        "the file is damaged": whole[:-2],
        "expected 128 numbers, the width of this model": directions.written(direction(app, width=64)),
        "expected a file of at most 1,000,000 bytes": b"x" * 1_000_001,
        "letters, digits, spaces": directions.written(direction(app, "../up")),
    }
    for said, body in bad.items():
        upload(app, body)
        assert said in app.html()
        app.tester.run()
        assert said in app.html()
        assert list(here.edits.directions) == ["mine"]
        assert len(here.edits.cards) == 1
    assert here.base is here.shown


def test_a_stack_brings_its_directions_along(app: App) -> None:
    """An array goes into the file; of one that is edited the form has the direction, beside one of the same name."""
    here, found = app.workspace, direction(app)
    here.edits.add(iv.Steer("resid_post", 2, (3,), direction=found))
    body = write_stack(here.edits.cards)
    here.edits.load(read_stack(body))
    other = direction(app)
    other.vector[5] = 1
    here.edits.directions["up"] = other
    app.tester.switch_page(PAGE).run()
    assert "Does not fit" not in app.html()
    app.click(f"card_Edit_{here.edits.cards[0].id}").assert_calm()
    assert app.tester.selectbox(key="edit_direction_saved").value == "up (2)"
    app.click("edit_add")
    assert np.array_equal(here.edits.cards[0].what.direction.content, found.vector)
    assert here.edits.directions["up"] is other
    here.edits.load(read_stack(json.dumps(json.loads(body) | {"arrays": {}}).encode()))
    here.edits.add(iv.Steer("resid_post", 2, (3,), direction=np.ones(64)))
    app.tester.run()
    assert "expected the numbers of “up”; the file had none" in app.html()
    assert "expected 128 numbers, the width of the stream" in app.html()
