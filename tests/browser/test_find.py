"""The find box in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser


def test_finding_a_token_and_a_place(visit: Callable[..., Visit]) -> None:
    seen = visit().ready()
    seen.page.get_by_role("button", name="Find", exact=True).click()
    field = seen.page.locator(".st-key-wanted input")
    field.fill('" Rome"')
    field.press("Enter")
    expect(seen.page.locator(".st-key-find")).to_contain_text("among the top 5")
    expect(seen.page.locator(".iv-mark.iv-found").first).to_be_attached()
    field.fill("layer 2 p=3")
    field.press("Enter")
    expect(seen.title()).to_have_text("layer 2 · position 3")
    expect(seen.page.locator(".iv-mark.iv-found")).to_have_count(0)
    expect(seen.page.locator(".iv-mark.iv-selected")).to_have_count(1)
