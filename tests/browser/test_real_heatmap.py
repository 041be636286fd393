"""A long text on a real model: what is in sight comes first, the rest follows; a word is found as it is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]
# 19 tokens; with the question and ten that are generated, 19 more
SENTENCE = "The Eiffel Tower is in the city of Paris, and many people visit it each year. "
QUESTION = "The Eiffel Tower is in the city of"
# notes where an element begins, as often as the page is painted
WATCH_TOP = """(element) => {
  window.tops = [];
  const look = () => {
    if (element.isConnected) window.tops.push(Math.round(element.getBoundingClientRect().top));
    requestAnimationFrame(look);
  };
  look();
}"""


@pytest.mark.parametrize(("size", "dark", "sentences"), [(WIDE, False, 15), (NARROW, True, 6)])
def test_a_long_text_opens_on_its_answer(
    visit: Visits, real_model: Path, size: tuple[int, int], dark: bool, sentences: int
) -> None:
    seen = visit(size=size, dark=dark).ready().open_model(real_model)
    seen.type_prompt(SENTENCE * sentences + QUESTION)
    seen.page.locator(".st-key-run button").click()
    expect(seen.page.locator(".iv-note")).to_contain_text(f"32 rows × {19 * (sentences + 1)} positions")
    last = 19 * sentences + 8
    top = seen.page.locator(f'[role=gridcell][aria-label^="final norm, position {last}:"]')
    expect(top).to_contain_text("␣Paris")
    expect(top).to_be_visible()
    if size == NARROW:
        # 32 rows do not fit here, and those out of sight are not drawn: the lowest ones come by scrolling
        seen.page.locator(".iv-grid .iv-scroller").evaluate(
            "(scroller) => { scroller.scrollTop = scroller.scrollHeight; }"
        )
    expect(seen.page.locator(f'[role=gridcell][aria-label^="embeddings, position {last}"]')).to_be_attached()
    seen.page.get_by_role("button", name="Find", exact=True).click()
    field = seen.page.locator(".st-key-wanted input")
    field.fill("Paris")
    field.press("Enter")
    line = seen.page.locator(".st-key-found_line")
    expect(line).to_contain_text("␣Paris")
    overview = seen.page.locator(".iv-overview")
    overview.evaluate(WATCH_TOP)
    expect(line).to_contain_text("comes among the top 5 at")
    expect(field).not_to_be_visible()
    expect(seen.page.locator(".iv-mark.iv-found").first).to_be_attached()
    expect(overview.locator(".iv-overbar").nth(15 * (sentences + 1))).to_be_attached()
    expect(overview.locator(".iv-overspot").first).to_be_attached()
    # one that is far from what is looked at
    bars = overview.locator("svg").bounding_box()
    seen.page.mouse.click(bars["x"] + 2.5 * bars["width"] / (19 * (sentences + 1)), bars["y"] + 8)
    expect(seen.page.locator(".headline .where")).to_contain_text("position 2 ‘")
    sight = overview.locator(".iv-insight").first
    expect(sight).to_have_attribute("x", "0")
    # what is clicked on does not move while more of it comes
    assert len(set(seen.page.evaluate("window.tops"))) == 1
    assert not seen.said
