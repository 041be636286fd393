"""The patching page under Streamlit's tester: what it asks for, what its pictures are given, where its clicks lead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from intravisto_core.errors import RequestError
from intravisto_core.request import Ablate, EvidenceView, KnockOut, Patch, PatchingRequest, ResampleTokens
from intravisto_core.sites import Ablation, Effect, Site
from intravisto_ui.parts import claim_test, variants
from intravisto_ui.parts.variants import Variant
from intravisto_ui.patching import actions, patches, sweep_form
from intravisto_ui.patching.pair import align_ends, swap_name
from tests.pages.test_explain import with_model

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"


@pytest.fixture
def patching(open_app):
    app = with_model(open_app())
    app.tester.switch_page("pages/patching.py").run()
    app.assert_calm()
    return app


def wait(app, slot: str):
    """Until all grids of a slot are there and drawn."""
    run = app.workspace.grids[slot]
    for job in run.jobs:
        job.result(timeout=100)
    app.tester.run()
    app.assert_calm()
    return run


def given(app, name: str) -> dict[str, Any]:
    """What the component of that name is given."""
    found = [e.proto for e in app.tester.get("bidi_component") if e.proto.component_name == f"intravisto_{name}"]
    data: dict[str, Any] = json.loads(found[-1].json)
    return data


def act(app, do: str, **place: Any) -> None:
    """What the script reports of a click."""
    run = app.workspace.grids["patching"]
    run.take_act({"rev": run.rev, "n": 1, "do": do, **place}, actions.WAYS)
    app.tester.run()
    app.settle()


def test_an_experiment_fills_the_fields_and_runs_its_grids(patching):
    assert patching.html().count('class="title"') == 4
    patching.click("patch_try_names")
    run = wait(patching, "patching")
    assert [(asked.clean, asked.corrupt, asked.what) for asked in run.requests] == [
        ((CLEAN,), (CORRUPT,), Site.RESID_PRE),
        ((CLEAN,), (CORRUPT,), Site.Z),
    ]
    data = given(patching, "patching")
    assert [block["key"] for block in data["blocks"]] == ["resid_pre", "z"]
    assert data["progress"] is None
    assert data["blocks"][0]["prefix"] == 10
    assert data["blocks"][0]["values"][0][10] == pytest.approx(1.0, abs=1e-3)
    assert "Done: " in patching.html()
    assert len(json.dumps(data)) < 60_000
    assert patching.tester.button(key="patch_run").disabled
    table = run.read_quietly()[1].render("html", beside=()).decode()
    assert "Where is the difference" in table
    # another measure is another question, which is not run by itself
    patching.set("selectbox", "patch_metric", "probability")
    assert "Changed, not run." in patching.html()
    assert not patching.tester.button(key="patch_run").disabled


def test_grids_are_of_the_model_that_is_open_and_not_of_an_earlier_run(patching, tiny_llama):
    patching.type_model(str(tiny_llama)).assert_calm()
    patching.set("text_area", "patch_clean", "ab cd")
    patching.set("text_area", "patch_corrupt", "ab ce")
    patching.click("patch_run")
    run = wait(patching, "patching")
    assert run.spec.source == str(tiny_llama)
    (grid_of_open, _) = run.read()
    assert grid_of_open.model == patching.workspace.engine.model.name != "demo"
    assert 'class="model old"' not in patching.html()


def test_prompts_are_typed_paired_and_swapped(patching):
    patching.set("text_area", "patch_clean", CLEAN)
    patching.click("patch_swap")
    assert patching.workspace.options["patch_corrupt"] == CORRUPT
    data = given(patching, "alignment")
    assert [t["t"] for t in data["clean"]][10:12] == ["␣John", "␣gave"]
    assert data["pairs"] == [[i, i] for i in range(15)]
    patching.set("text_area", "patch_corrupt", CORRUPT.replace("the store", "the big store"))
    data = given(patching, "alignment")
    assert [8, 8] not in data["pairs"]
    assert data["pairs"][-1] == [14, 15]
    assert "paired from both ends" in data["note"]
    patching.workspace.options["patch_pairs"] = (
        (CLEAN, patching.workspace.options["patch_corrupt"]),
        ((0, 0), (14, 15)),
    )
    patching.tester.run()
    assert given(patching, "alignment")["pairs"] == [[0, 0], [14, 15]]
    patching.click("patch_run")
    run = wait(patching, "patching")
    assert run.requests[0].alignment == ((0, 0), (14, 15))
    columns = given(patching, "patching")["blocks"][0]["columns"]
    assert [c["name"] for c in columns] == ["position 0 ‘<|bos|>’", "position 14 ‘␣to’"]


def test_a_corrupt_prompt_is_made_of_chosen_tokens(patching):
    patching.set("segmented_control", "patch_kind", "other tokens")
    patching.set("number_input", "patch_draws", 2)
    patching.click("patch_run")
    run = wait(patching, "patching")
    made = run.requests[0].corrupt
    assert isinstance(made, ResampleTokens)
    assert (made.draws, [patching.workspace.base.trace.tokens[p].shown for p in made.positions]) == (2, ["␣A"])
    act(patching, "open", block="resid_pre", layer=0, column=11)
    assert "the corrupt one was made by drawing" in patching.html()


def test_a_cell_leads_to_its_edited_run_and_to_its_layer(patching):
    patching.click("patch_try_names")
    wait(patching, "patching")
    act(patching, "open", block="z", layer=0, column=1)
    workspace = patching.workspace
    assert workspace.base.request.prompt == CORRUPT
    assert patching.tester.session_state["prompt"] == CORRUPT
    (card,) = workspace.edits.cards
    assert card.what == Patch(Site.Z, 0, (10, 11, 12, 13, 14), head=1, source=CLEAN)
    assert (workspace.asked.target, workspace.asked.contrast) == (" Mary", " John")
    patching.tester.switch_page("pages/patching.py").run()
    act(patching, "layer", block="resid_pre", layer=3, column=10)
    assert workspace.base.request.prompt == CLEAN
    assert workspace.selection.position == 10
    patching.assert_calm()


def test_what_a_cell_claims_needs_no_second_prompt(patching):
    patching.click("patch_try_names")
    run = wait(patching, "patching")
    by_place, by_head = run.read()
    base = patching.workspace.base
    (head,) = actions.write_ablation(base, by_head, 2, 3)
    assert head == Ablate(Site.Z, 2, (-5, -4, -3, -2, -1), head=3)
    (place,) = actions.write_ablation(base, by_place, 2, 10)
    assert place == Ablate(Site.RESID_PRE, 2, (-5,), how=Ablation.MEAN)
    act(patching, "test", block="z", layer=0, column=1)
    draft = patching.workspace.claim
    assert draft.prompts[0] == Variant(CLEAN, " Mary", " John")
    assert len(draft.prompts) == 12
    text = "\n".join(one.write() for one in draft.prompts)
    view = claim_test.build_view(draft, "lowers", text)
    assert isinstance(view, EvidenceView)
    assert view.claim.effect is Effect.LOWERS
    assert view.claim.target[:2] == (" Mary", " John")
    found = patching.workspace.base.engine.view(view, session=patching.workspace.id)
    assert found.n == 12
    assert b"intravisto" in claim_test.pack_finding(draft, view)


def test_a_sweep_over_prompts(patching):
    patching.set("segmented_control", "patch_mode", "sweep")
    patching.assert_calm()
    assert "Which parts does the answer need?" in patching.html()
    patching.click("sweep_more").click("sweep_run")
    run = wait(patching, "sweep")
    assert [asked.what for asked in run.requests] == [Site.Z, Site.MLP_OUT]
    assert len(run.requests[0].prompts) == 12
    data = given(patching, "patching")
    assert [len(block["columns"]) for block in data["blocks"]] == [4, 1]
    assert data["more"][0]["title"] == "Needed most in each prompt"
    patching.tester.selectbox(key="sweep_prompt_12").select_index(2).run()
    assert "lead of ␣Paris" in given(patching, "patching")["about"]
    with pytest.raises(RequestError, match="at least one"):
        sweep_form.build_requests(patching.workspace.base, " \n", (Site.Z,), Ablation.ZERO, "last")


def test_fields_come_back_after_a_page_switch(patching):
    patching.set("text_area", "patch_corrupt", "Q: What is the capital of France? A:")
    patching.tester.switch_page("pages/heatmap.py").run()
    patching.tester.switch_page("pages/patching.py").run()
    assert patching.tester.text_area(key="patch_corrupt").value == "Q: What is the capital of France? A:"
    assert patching.tester.text_area(key="patch_clean").value == "Q: What is the capital of Italy? A:"


class Word:
    """As much of a token as is looked at."""

    def __init__(self, position: int, text: str) -> None:
        self.position, self.text, self.id, self.is_special = position, text, text, False


def words(*texts: str) -> list[Any]:
    return [Word(i, text) for i, text in enumerate(texts)]


def test_prompts_of_different_lengths_are_paired_from_both_ends():
    one, two = words("a", "b", "c", "d"), words("a", "x", "y", "c", "d")
    assert align_ends(one, two) == ((0, 0), (2, 3), (3, 4))
    assert align_ends(one, words("a", "b", "x", "d")) == ((0, 0), (1, 1), (2, 2), (3, 3))
    assert align_ends(words("a"), words("b", "c")) == ()


def test_a_name_is_swapped_where_it_stands_last():
    assert swap_name(words("When", " Tom", " and", " Ann", ",", " Tom", " gave")) == "When Tom and Ann, Ann gave"
    assert swap_name(words("When", " Tom", " and", " Ann")) is None
    assert swap_name(words(" Tom", " saw", " Tom")) is None


def test_places_are_counted_from_the_end():
    assert claim_test.count_from_end(Ablate("z", 1, (3, -1), head=0), 8).positions == (-5, -1)
    look = claim_test.count_from_end(KnockOut(1, (7,), (2,), heads=(0,)), 8)
    assert (look.queries, look.keys) == ((-1,), (-6,))
    assert claim_test.count_from_end(Ablate("z", 1, "prompt", head=0), 8).positions == "prompt"
    with pytest.raises(RequestError, match="generated token"):
        claim_test.count_from_end(Ablate("z", 1, (8,), head=0), 8)


def test_lines_hold_prompts_and_their_tokens():
    one = Variant("a | b", "", "")
    assert variants.read_lines("x y |  Rome |  Paris\n\nz") == (Variant("x y", " Rome", " Paris"), Variant("z"))
    for each in (Variant("x y", " Rome", " Paris"), Variant("x", " Rome"), Variant("x", 17, 0), Variant("z")):
        assert variants.read_lines(each.write()) == (each,)
    assert one.prompt == "a | b"


def test_a_token_is_named_in_a_line_by_its_text_or_else_by_its_id(patching):
    engine = patching.workspace.base.engine
    for text in (" Rome", "\n", " "):
        (token,) = engine.tokenize(text, add_special_tokens=False)
        assert variants.name_in_line(engine, token.id, token.shown) == (text if text == " Rome" else token.id)


def test_other_prompts_change_their_answers_with_them(patching):
    engine = patching.workspace.base.engine
    found = variants.write_variants(engine, "Q: What is the capital of Italy? A:", " Rome", "")
    assert found[1] == Variant("Q: What is the capital of France? A:", " Paris", "")
    assert len({one.prompt for one in found}) == 12
    assert variants.write_variants(engine, "1 2 3", "", "") == (Variant("1 2 3"),)


def test_a_call_is_written_as_it_is_asked_for():
    asked = PatchingRequest("a b", "c d e", " Rome", None, "z", "noise", positions=[-1], alignment="ends")
    assert patches.write_call(asked) == (
        "clean='a b', corrupt='c d e', target=' Rome', what='z', direction='noise', positions=(-1,), alignment='ends'"
    )
