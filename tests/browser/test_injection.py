"""The injection page as a user has it: make an edit, run it, look at what followed, take it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from intravisto_core.models import directions
from intravisto_core.records import ConceptDirection
from tests.browser.conftest import NARROW, WIDE, Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


def to_edits(seen: Visit) -> Visit:
    seen.page.get_by_role("link", name="Injection", exact=True).click()
    expect(seen.page.locator(".st-key-edit_form")).to_be_visible()
    return seen.idle()


def choose(seen: Visit, key: str, option: str) -> None:
    box = seen.page.locator(f".st-key-{key} [role=combobox]")
    # a list closes where the page scrolls, as it would to bring a field at its edge into sight
    box.evaluate("(field) => field.scrollIntoView({ block: 'center' })")
    box.click()
    seen.page.get_by_role("option", name=option, exact=True).click()
    seen.idle()


def type_into(seen: Visit, key: str, text: str) -> None:
    field = seen.page.locator(f".st-key-{key} input")
    field.fill(text)
    field.press("Tab")
    seen.idle()


def add(seen: Visit, cards: int) -> None:
    seen.page.locator(".st-key-edit_add button").click()
    expect(seen.page.locator(".card")).to_have_count(cards)
    seen.idle()


def run(seen: Visit) -> None:
    seen.page.locator(".st-key-edits_run button").first.click()
    expect(seen.page.locator(".effects:not(.moved_tokens)")).to_be_visible()
    seen.idle()


def offer(seen: Visit, way: str) -> None:
    """Take the offer of the panel to ablate its cell: `run` it at once, or only `add` it."""
    seen.page.locator(".st-key-detail .st-key-ablate_here button").first.click()
    seen.page.locator(f".st-key-ablate_here_{way} button:visible").first.click()


def inject_paris(seen: Visit) -> None:
    """Into the last layer at the end of the prompt, which the form takes from the selection."""
    type_into(seen, "edit_token", " Paris")
    choose(seen, "edit_layer", "layer 5")
    add(seen, 1)


def test_paris_for_rome(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    inject_paris(seen)
    run(seen)
    wrote = seen.page.locator(".wrote")
    expect(wrote.nth(0)).to_contain_text("Rome")
    expect(wrote.nth(1)).to_contain_text("Paris")
    expect(wrote.nth(1).locator("mark").first).to_be_visible()
    expect(seen.page.locator(".st-key-grid_difference .iv-mark.iv-injected")).to_have_count(1)
    expect(seen.page.locator(".effects:not(.moved_tokens)")).to_contain_text("noise floor")
    assert not seen.said
    assert not seen.outside


def test_the_form_and_the_card_tell_what_reads_back(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    type_into(seen, "edit_token", " Paris")
    choose(seen, "edit_layer", "layer 2")
    told = seen.page.locator(".read_back")
    expect(told).to_contain_text("Will read back as ␣Paris (>99.9 %)")
    add(seen, 1)
    run(seen)
    expect(told.first).to_contain_text("reads back as ␣Paris")
    expect(seen.page.get_by_text("the new vector reads back as")).to_have_count(1)
    expect(seen.page.locator('[data-testid="stBaseButton-primary"]')).to_have_count(1)


def test_another_prompt_sets_edits_aside_and_the_earlier_run_brings_them_back(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    inject_paris(seen)
    run(seen)
    seen.type_prompt("Q: What is the capital of Spain? A:").run()
    aside = seen.page.locator(".st-key-edits_aside")
    expect(aside).to_contain_text("is not run here")
    expect(aside).to_contain_text("here: position 11 ‘:’ (last of the prompt)")
    expect(seen.page.locator(".effects:not(.moved_tokens)")).to_have_count(0)
    aside.get_by_role("button", name="Take over it").click()
    expect(aside).to_have_count(0)
    # the card that was aside may still be fading while the one that is taken over stands already
    expect(seen.page.locator(".card:visible")).to_have_count(1)
    expect(seen.page.locator(".card:visible")).to_contain_text("position 11 ‘:’")
    seen.page.get_by_role("button", name="Earlier runs").click()
    seen.page.locator(".st-key-recent1 button:visible").first.click()
    expect(seen.page.locator(".effects:not(.moved_tokens)").first).to_be_visible()
    expect(seen.page.locator(".wrote").nth(1)).to_contain_text("Paris")
    assert not seen.said


def test_an_ablation_is_run_from_where_it_is_offered(visit: Visits) -> None:
    seen = visit().ready()
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    offer(seen, "run")
    expect(seen.page.locator(".effects:not(.moved_tokens)").first).to_be_visible()
    expect(seen.page.locator(".iv-mark.iv-ablated")).to_have_count(1)


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_nothing_of_the_form_is_cut(visit: Visits, size: tuple[int, int], dark: bool) -> None:
    seen = to_edits(visit(size, dark=dark).ready())
    choose(seen, "edit_strategy", "main component")
    boxes = seen.page.locator(".st-key-edit_form [data-testid=stSelectbox] input")
    cut = boxes.evaluate_all("all => all.filter((b) => b.scrollWidth > b.clientWidth + 1).map((b) => b.value)")
    assert not cut
    run_button = seen.page.locator(".st-key-run button").bounding_box()
    assert run_button["y"] + run_button["height"] <= size[1]


def test_order_undo_and_the_tree(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    inject_paris(seen)
    run(seen)
    choose(seen, "edit_kind", "ablate")
    add(seen, 2)
    cards = seen.page.locator(".card")
    expect(cards.nth(1)).to_contain_text("taken away")
    seen.page.locator("[class*=st-key-card_more_]").nth(1).locator("button").first.click()
    seen.page.get_by_role("button", name="Up", exact=True).click()
    expect(cards.nth(0)).to_contain_text("taken away")
    seen.page.locator(".st-key-edits_undo button").first.click()
    expect(cards.nth(0)).to_contain_text("Paris")
    run(seen)
    nodes = seen.page.locator("[class*=st-key-node_] button")
    expect(nodes).to_have_count(3)
    nodes.nth(0).click()
    expect(seen.page.locator(".effects:not(.moved_tokens)")).to_have_count(0)
    nodes.nth(1).click()
    expect(seen.page.locator(".wrote").nth(1)).to_contain_text("Paris")
    expect(seen.page.get_by_text("Compare two runs")).to_be_visible()


def test_the_switch_in_the_frame_of_the_heatmap(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    inject_paris(seen)
    run(seen)
    seen.page.get_by_role("link", name="Heatmap", exact=True).click()
    bar = seen.page.locator(".st-key-edits_bar")
    expect(bar).to_contain_text("Edits (1 on)")
    expect(seen.page.locator(".iv-foot")).to_contain_text("KL from the baseline")
    for look, cell in (("baseline", "Rome"), ("edited", "Paris")):
        bar.get_by_role("radio", name=look).or_(bar.get_by_role("button", name=look)).first.click()
        expect(seen.cell(7, 11)).to_contain_text(cell)
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    assert not seen.said


def test_a_cell_becomes_an_edit(visit: Visits) -> None:
    seen = visit().ready()
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    offer(seen, "add")
    expect(seen.page.locator(".card")).to_contain_text("layer 3, position 8 ‘␣Italy’, block output: taken away")
    seen.idle()
    run(seen)
    expect(seen.page.locator(".iv-mark.iv-ablated")).to_have_count(1)


def test_narrow_and_dark_nothing_sticks_out(visit: Visits) -> None:
    seen = to_edits(visit(NARROW, dark=True).ready())
    inject_paris(seen)
    run(seen)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    card = seen.page.locator(".card").bounding_box()
    form = seen.page.locator(".st-key-edit_form").bounding_box()
    assert card["y"] + card["height"] <= form["y"]


def test_a_node_of_the_flow_becomes_an_edit(visit: Visits) -> None:
    seen = visit(path="flow")
    seen.page.wait_for_selector("rect.iv-node")
    seen.idle().page.locator('.iv-stage [data-part="attention.4.11"]').first.click()
    offer(seen, "add")
    expect(seen.page.locator(".card")).to_contain_text(
        "layer 3, position 11 ‘:’ (last of the prompt), attention: taken away"
    )
    seen.idle()
    run(seen)
    expect(seen.page.locator(".iv-mark.iv-ablated")).to_have_count(1)
    assert not seen.said


def test_a_link_of_the_flow_is_checked(visit: Visits) -> None:
    seen = visit(path="flow")
    seen.page.wait_for_selector("rect.iv-node")
    seen.idle().page.locator('.iv-stage [data-part="attention.4.11>mid.4.11"]').first.click(force=True)
    seen.page.locator(".st-key-check_link button").first.click()
    expect(seen.page.locator(".st-key-detail")).to_contain_text("predicted")
    expect(seen.page.locator(".st-key-detail")).to_contain_text("doing nothing changes it by")


def test_a_first_experiment_is_one_click_away(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    seen.page.locator(".st-key-try_word button").first.click()
    expect(seen.page.locator(".effects:not(.moved_tokens)")).to_be_visible()
    expect(seen.page.locator(".story")).to_contain_text("␣Italy")
    expect(seen.page.locator(".card")).to_contain_text("no longer looks at position 8 ‘␣Italy’")
    assert not seen.said


def test_the_form_is_about_the_cell_that_is_clicked(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    seen.cell(3, 8).click()
    expect(seen.page.locator(".st-key-edit_layer [role=combobox]")).to_have_value("layer 2")
    expect(seen.page.locator(".st-key-edit_positions")).to_contain_text("8 ␣Italy")


def test_both_grids_move_together_and_are_saved_as_one(visit: Visits, tmp_path: Path) -> None:
    seen = to_edits(visit(NARROW).ready())
    inject_paris(seen)
    run(seen)
    seen.page.locator(".st-key-effect_shown").get_by_text("baseline and edited").click()
    sides = [seen.page.locator(f".st-key-grid_{side} .iv-scroller") for side in ("baseline", "edited")]
    expect(sides[1].locator(".iv-mark.iv-injected")).to_have_count(1)
    seen.idle()
    above, below = (side.bounding_box() for side in sides)
    assert above["y"] + above["height"] <= below["y"]
    sides[0].evaluate("scroller => scroller.scrollTo(60, 0)")
    expect(sides[1]).to_have_js_property("scrollLeft", 60)
    sides[0].locator('[role=gridcell][aria-label^="layer 4"]').first.click()
    for side in sides:
        expect(side.locator(".iv-mark.iv-selected")).to_have_count(1)
    seen.page.get_by_role("button", name="Export", exact=True).click()
    with seen.page.expect_download() as saved:
        seen.page.get_by_role("button", name="SVG", exact=True).click()
    picture = Path(saved.value.path()).read_text("utf-8")
    assert (picture.count("<svg"), picture.count(">baseline<"), picture.count(">edited<")) == (3, 1, 1)
    assert "Rome" in picture
    assert "Paris" in picture
    with seen.page.expect_download() as saved:
        seen.page.get_by_role("button", name="PNG", exact=True).click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    assert not seen.said


def test_a_head_of_a_panel_becomes_an_edit(visit: Visits) -> None:
    seen = visit(path="flow")
    seen.page.wait_for_selector("rect.iv-node")
    seen.idle().page.locator('.iv-stage [data-part="block.4.8>attention.5.11"]').first.click(force=True)
    seen.page.locator(".st-key-flow_head_ablate button").first.click()
    seen.page.get_by_role("button", name="Only add it").click()
    expect(seen.page.locator(".card")).to_contain_text("position 11 ‘:’ (last of the prompt), head")
    seen.idle()
    run(seen)
    expect(seen.page.locator(".iv-mark.iv-ablated")).to_have_count(1)
    assert not seen.said


def test_a_direction_from_a_file_and_into_one(visit: Visits, tmp_path: Path) -> None:
    seen = to_edits(visit().ready())
    choose(seen, "edit_kind", "steer")
    seen.page.locator(".st-key-edit_direction_from").get_by_text("a saved one").click()
    seen.idle().page.locator(".st-key-edit_direction_file button").first.click()
    field = seen.page.locator(".st-key-edit_direction_load input[type=file]")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensor")
    field.set_input_files(tmp_path / "bad.safetensors")
    expect(seen.page.get_by_text("the file is damaged")).to_be_visible()
    made = ConceptDirection("France less Italy", np.arange(128, dtype=np.float32), "2 prompts less 1", "a model")
    field.set_input_files(directions.save(made, tmp_path))
    button = seen.page.locator(".st-key-edit_direction_download button")
    expect(button).to_contain_text("Save “France less Italy”")
    seen.idle()
    with seen.page.expect_download() as saved:
        button.click()
    assert saved.value.suggested_filename == "France less Italy.direction.safetensors"
    assert np.array_equal(directions.read(Path(saved.value.path()).read_bytes(), 128).vector, made.vector)
    seen.page.keyboard.press("Escape")
    add(seen, 1)
    expect(seen.page.locator(".card")).to_contain_text("along “France less Italy”")
    assert not seen.said


def test_the_form_names_the_tokens_of_the_text_that_is_shown(visit: Visits) -> None:
    seen = to_edits(visit().ready())
    at = seen.page.locator(".st-key-edit_positions")
    expect(at).to_contain_text("11 :")
    seen.page.locator(".st-key-prompt textarea").fill("The opposite of hot is")
    seen.page.locator(".st-key-prompt textarea").press("Control+Enter")
    expect(seen.page.locator(".where")).to_contain_text("position 5")
    seen.idle()
    expect(at).to_contain_text("5 ␣is")
    expect(at).not_to_contain_text("11 :")
