"""The patching page in Chromium: filled, run, cancelled, clicked, a claim tested; both themes, a narrow window."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE

pytestmark = pytest.mark.browser

CLEAN = "When Mary and John went to the store, John gave a drink to"


def open_patching(visit, **how):
    seen = visit(**how).ready()
    seen.page.get_by_role("link", name="Patching", exact=True).first.click()
    seen.page.wait_for_selector(".st-key-patch_run button")
    return seen.idle()


def run_names(seen):
    """The first experiment, run to its end."""
    seen.page.locator(".st-key-patch_try_names button").click()
    seen.page.wait_for_selector(".iv-carry")
    return seen.idle()


def is_in_sight(seen, selector: str) -> bool:
    box = seen.page.locator(selector).bounding_box()
    size = seen.page.viewport_size
    return box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_prompts_are_filled_in_run_and_clicked(visit, size, dark):
    seen = open_patching(visit, size=size, dark=dark)
    page = seen.page
    assert is_in_sight(seen, ".st-key-patch_run button")
    page.locator(".st-key-patch_clean textarea").fill(CLEAN)
    page.locator(".st-key-patch_clean textarea").press("Tab")
    swap = page.get_by_role("button", name="Swap a name")
    expect(swap).to_be_enabled()
    swap.click()
    expect(page.locator(".iv-pair.iv-differ")).to_have_count(1)
    expect(page.locator(".iv-pair.iv-differ")).to_have_text(re.compile("John.*Mary", re.DOTALL))
    page.locator(".st-key-patch_run button").click()
    page.wait_for_selector(".iv-carry")
    seen.idle()
    head = page.locator('[role=gridcell][aria-label^="L0H1:"]')
    head.click()
    expect(page.locator(".iv-said h3")).to_have_text("L0H1")
    expect(page.locator(".iv-said")).to_contain_text("output of this head at 5 positions at once")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".iv-said h3")).to_have_text("L1H1")
    place = page.locator('[role=gridcell][aria-label^="Before layer 0 · position 10"]')
    place.click()
    expect(page.locator(".iv-said")).to_contain_text("Up to layer 0 the difference is kept at")
    assert page.locator(".iv-patch").count() == 6 * 5 + 6 * 4
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # what was chosen is there after a page switch
    seen.idle()
    page.get_by_role("link", name="Heatmap", exact=True).first.click()
    seen.ready()
    page.get_by_role("link", name="Patching", exact=True).first.click()
    expect(page.locator(".iv-said h3")).to_have_text(re.compile("Before layer 0 · position 10"))
    assert seen.said == []
    assert seen.outside == []


def test_a_long_grid_grows_and_is_cancelled(visit):
    seen = open_patching(visit)
    page = seen.page
    page.locator(".st-key-patch_clean textarea").fill("sun Mary river gold fox Tom " * 18)
    page.locator(".st-key-patch_kind button", has_text="noise").click()
    seen.idle()
    draws = page.locator(".st-key-patch_draws input")
    draws.fill("16")
    draws.press("Enter")
    expect(page.locator(".st-key-patch_made .hint")).to_contain_text("cells to run")
    page.locator(".st-key-patch_run button").click()
    cancel = page.locator('[data-at="cancel"], .st-key-patch_cancel button').first
    cancel.click()
    expect(page.locator(".st-key-patch_made .hint")).to_contain_text(re.compile("Stopped|Done: no cells"))
    assert seen.said == []


def test_a_cell_is_tested_beside_controls(visit):
    seen = run_names(open_patching(visit))
    page = seen.page
    page.locator('[role=gridcell][aria-label^="L0H1:"]').click()
    page.locator('[data-at="way-test"]').click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("head 1: taken away")
    dialog.locator(".st-key-claim_run button").click()
    verdict = dialog.locator(".iv-verdict")
    expect(verdict).to_contain_text("Over 12 prompts (11 of them new)")
    expect(verdict.locator(".iv-head")).to_have_text(re.compile("Supported|Not distinguishable"))
    expect(dialog.locator(".iv-rows circle.iv-edit")).to_have_count(12)
    assert seen.said == []


def test_a_cell_opens_its_edited_run(visit):
    seen = run_names(open_patching(visit))
    page = seen.page
    page.locator('[role=gridcell][aria-label^="L0H1:"]').click()
    page.locator('[data-at="way-open"]').click()
    expect(page.locator(".page", has_text="Injection")).to_be_visible()
    expect(page.locator(".st-key-prompt textarea")).to_have_value(CLEAN.replace("John gave", "Mary gave"))
    expect(page.locator(".effects").first).to_contain_text("lead of ␣Mary over ␣John")
    assert seen.said == []


def test_a_sweep_over_prompts_like_this_one(visit):
    seen = open_patching(visit)
    page = seen.page
    page.locator(".st-key-patch_mode button", has_text="part by part").click()
    seen.idle()
    page.get_by_role("button", name="Add prompts like it").click()
    expect(page.locator(".st-key-sweep_options .hint")).to_contain_text("in 12 prompts")
    page.locator(".st-key-sweep_run button").click()
    page.wait_for_selector(".iv-carry")
    assert page.locator(".iv-patch").count() == 6 * 4 + 6
    page.locator('[role=gridcell][aria-label^="layer 5 MLP:"]').click()
    expect(page.locator(".iv-said")).to_contain_text("Without this layer's MLP")
    assert seen.said == []


def test_a_grid_by_itself_and_as_a_picture(windows, case, tmp_path):
    engine = case("llama").engine
    path = tmp_path / "patching.html"
    grid = engine.patching("abcd<b>", "abca<b>")
    grid.save(path, beside=[engine.patching("abcd<b>", "abca<b>", what="z")])
    page = windows.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector(".iv-patch")
    cell = page.locator('[role=gridcell][aria-label^="Before layer 1 · position"]')
    cell.first.click()
    expect(page.locator(".iv-said")).to_contain_text("With the clean run's stream here")
    assert page.locator(".iv-act").count() == 0
    svg = page.evaluate("document.querySelector('.iv-patching').intravisto.constructor.name")
    assert svg
    assert said == []
    page.close()
