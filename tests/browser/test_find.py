"""The find box in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser


def test_finding_a_token_and_a_place(visit: Callable[..., Visit]) -> None:
    seen = visit().ready()
    menu = seen.page.get_by_role("button", name="Find", exact=True)
    menu.click()
    field = seen.page.locator(".st-key-wanted input")
    field.fill("Rome")
    field.press("Enter")
    line = seen.page.locator(".st-key-found_line")
    expect(line).to_contain_text("␣Rome")
    expect(line).to_contain_text("among the top 5")
    expect(field).not_to_be_visible()
    expect(seen.page.locator(".iv-mark.iv-found").first).to_be_attached()
    seen.page.get_by_role("button", name="List", exact=True).click()
    amount = seen.page.locator(".st-key-find_k input")
    amount.fill("900")
    amount.press("Enter")
    expect(line).to_contain_text("among the top 900")
    seen.idle()
    place = seen.title().inner_text()
    table = seen.page.locator(".st-key-found canvas").first.bounding_box()
    seen.page.mouse.click(table["x"] + 40, table["y"] + 52)
    expect(seen.title()).not_to_have_text(place)
    seen.idle()
    marks = seen.page.locator(".iv-mark.iv-found").evaluate_all("(all) => all.map((e) => [e.style.left, e.style.top])")
    selected = seen.page.locator(".iv-mark.iv-selected").evaluate("(e) => [e.style.left, e.style.top]")
    assert selected in marks
    seen.page.keyboard.press("Escape")
    place = seen.title().inner_text()
    seen.page.get_by_role("button", name="Next", exact=True).click()
    expect(seen.title()).not_to_have_text(place)
    menu.click()
    field.fill("layer 2 p=3")
    field.press("Enter")
    expect(seen.title()).to_have_text("layer 2 · position 3")
    expect(seen.page.locator(".iv-mark.iv-found")).to_have_count(0)
    expect(seen.page.locator(".iv-mark.iv-selected")).to_have_count(1)
