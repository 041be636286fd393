"""Many pairs and circuits in Chromium: pasted, run, clicked, measured again; both themes, a narrow window."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE
from tests.browser.test_patching import open_patching

pytestmark = pytest.mark.browser

PAIRS = "\n".join(
    f"The capital of {a} is the city of | The capital of {b} is the city of |  {c} |  {d}"
    for a, b, c, d in (("Italy", "France", "Rome", "Paris"), ("Spain", "France", "Madrid", "Paris"))
)


def open_mode(seen, name: str):
    seen.page.locator(".st-key-patch_mode button", has_text=name).click()
    field = seen.page.locator(".st-key-pair_list textarea")
    field.fill(PAIRS)
    field.press("Tab")
    return seen.idle()


def test_pairs_have_a_mean_and_each_their_own_grid(visit):
    seen = open_mode(open_patching(visit), "many pairs")
    page = seen.page
    expect(page.locator(".st-key-patch_made .hint")).to_contain_text("2 pairs, at most")
    page.locator(".st-key-patch_run button").click()
    page.wait_for_selector(".iv-carry")
    seen.idle()
    page.locator('[role=gridcell][aria-label^="L2H1:"]').click()
    expect(page.locator(".iv-said")).to_contain_text("95 % interval over the prompts")
    page.locator(".st-key-patch_show [role=combobox]").click()
    page.get_by_role("option", name=re.compile("2: .*Spain")).click()
    expect(page.locator(".iv-patching")).to_contain_text("␣Spain")
    expect(page.locator(".iv-said")).not_to_contain_text("interval over the prompts")
    assert seen.said == []


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_a_circuit_is_edited_by_clicks_and_measured(visit, size, dark):
    seen = open_mode(open_patching(visit, size=size, dark=dark), "circuit")
    page = seen.page
    run, worth = page.locator(".st-key-circuit_run button"), page.locator(".iv-worth")
    run.click()
    expect(worth).to_contain_text("of the lead is left", timeout=120_000)
    seen.idle()
    expect(page.locator(".iv-node")).to_have_count(30)
    assert page.locator(".iv-edge").count() > 0
    kept = page.locator(".iv-node[aria-checked=true]")
    before = kept.count()
    part = kept.first.get_attribute("data-part")
    node = page.locator(f'.iv-node[data-part="{part}"]')
    node.click()
    expect(node).to_have_attribute("aria-checked", "false")
    expect(worth).to_contain_text(f"{before - 1} of 30 parts, not measured yet")
    expect(page.locator(".st-key-circuit_options .hint")).to_contain_text("Changed, not measured")
    node.press("ArrowUp")
    node.page.keyboard.press("Enter")
    expect(page.locator('.iv-node[tabindex="0"]')).to_have_attribute("data-part", str(int(part) + 5))
    seen.idle()
    expect(run).to_be_enabled()
    run.click()
    expect(worth.locator("h3")).to_contain_text("What it is worth", timeout=120_000)
    seen.idle()
    # so many of the best, from the curve; then on to a test
    page.locator('.iv-take[data-size="6"]').click()
    expect(worth).to_contain_text("6 of 30 parts, not measured yet")
    seen.idle()
    page.locator(".iv-node").nth(1).click()
    page.locator('[data-at="way-test"]').click()
    expect(page.get_by_role("dialog")).to_contain_text("head 1: taken away")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert seen.said == []
    assert seen.outside == []
