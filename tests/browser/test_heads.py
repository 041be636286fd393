"""Which heads matter: the question typed once, the map, the list and the panel of a head, on demo and real model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]
MARY = "When Mary and John went to the store, John gave a drink to"


def ask(seen: Visit, target: str, contrast: str) -> None:
    """Type both tokens of the question in the frame."""
    page = seen.page
    page.locator(".st-key-question button").first.click()
    for side, text in (("target", target), ("contrast", contrast)):
        field = page.locator(f".st-key-question_{side} input")
        # while the page is drawn anew, the field of before stands beside it for a moment
        expect(field).to_have_count(1)
        field.fill(text)
        field.press("Enter")
        expect(page.locator(f".st-key-question_{side} .hint")).to_contain_text("one token: ")
    page.keyboard.press("Escape")
    expect(page.locator(".st-key-question button").first).to_contain_text(f"␣{target.strip()} over ␣{contrast.strip()}")


def open_heads(seen: Visit) -> Visit:
    """Attribution, from whatever page is shown."""
    seen.page.get_by_role("link", name="Flow", exact=True).click()
    seen.page.locator(".st-key-flow_tab button", has_text="Attribution").click()
    seen.page.wait_for_selector(".iv-head")
    return seen.idle()


def square(seen: Visit, layer: int, head: str) -> Any:
    return seen.page.locator(f'.iv-head[aria-label^="layer {layer} · {head}: "]')


def assert_nothing_overlaps(seen: Visit) -> None:
    """Map and list stand beside each other, and the page does not scroll sideways."""
    boxes = [seen.page.locator(place).bounding_box() for place in (".iv-heads .iv-frame", ".st-key-heads_list")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1
    assert boxes[1]["x"] + boxes[1]["width"] <= seen.page.viewport_size["width"]
    wide = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_a_head_is_found_in_the_map_and_in_the_list_and_is_ablated(visit: Visits, size: Any, dark: bool) -> None:
    seen = visit(size=size, dark=dark).ready()
    ask(seen, " Paris", " Rome")
    open_heads(seen)
    assert_nothing_overlaps(seen)
    first = seen.page.locator(".st-key-heads_list tbody tr").first
    name = first.locator(".iv-what").inner_text()
    first.locator("button").click()
    expect(seen.title().first).to_have_text(name.replace(", ", " · "))
    layer, head = name.removeprefix("layer ").split(", ")
    expect(seen.page.locator(".st-key-detail .why")).to_contain_text("Without it, the lead of ␣Paris over ␣Rome")
    square(seen, 0, "MLP").click()
    expect(seen.title().first).to_have_text("layer 0 · MLP")
    square(seen, int(layer), head).click()
    expect(seen.page.locator(".headline .where")).to_contain_text(f"layer {layer} · {head}")
    expect(seen.page.locator(".st-key-heads_list tr.iv-on .iv-what")).to_have_text(name)
    seen.page.locator(".iv-heads .iv-scroller").press("ArrowUp" if int(layer) < 5 else "ArrowDown")
    expect(seen.title().first).not_to_have_text(f"layer {layer} · {head}")
    square(seen, int(layer), head).click()
    expect(seen.title().first).to_have_text(f"layer {layer} · {head}")
    seen.page.locator(".st-key-head_ablate button").first.click()
    expect(seen.page.locator("table.effects:not(.moved_tokens)")).to_contain_text("lead of ␣Paris over ␣Rome")
    assert seen.said == []


def test_the_question_stays_open_while_it_is_typed_and_all_pages_follow(visit: Visits) -> None:
    seen = visit().ready()
    page = seen.page
    page.locator(".st-key-question button").first.click()
    page.locator(".st-key-question_target input").fill("Paris")
    take = page.locator(".st-key-question_target_space button").first
    expect(take).to_be_visible()
    take.click()
    expect(page.locator(".st-key-question button").first).to_contain_text("␣Paris over ␣Rome")
    expect(page.locator(".st-key-question_target input").first).to_have_value(" Paris")
    page.keyboard.press("Escape")
    for name in ("Flow", "Injection"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator(".st-key-question button").first).to_contain_text("␣Paris over ␣Rome")
    seen.idle()
    page.locator(".st-key-strip .iv-chip").nth(12).click()
    expect(page.locator(".st-key-question button").first).to_contain_text("␣Rome over")


@pytest.mark.parametrize(("size", "dark"), [(WIDE, True), (NARROW, False)])
def test_l23h3_of_the_real_model_is_found_in_two_clicks(visit: Visits, real_model: Path, size: Any, dark: bool) -> None:
    seen = visit(size=size, dark=dark).ready()
    seen.open_model(real_model).type_prompt(MARY).run()
    ask(seen, " Mary", " John")
    seen.page.get_by_role("link", name="Flow", exact=True).click()
    seen.page.wait_for_selector("rect.iv-node")
    seen.idle()
    seen.page.locator(".st-key-flow_tab button", has_text="Attribution").click()  # one
    first = seen.page.locator(".st-key-heads_list tbody tr").first
    expect(first).to_contain_text("layer 23, head 3")
    expect(first).to_contain_text("+2.8")
    first.locator("button").click()  # two
    expect(seen.title().first).to_have_text("layer 23 · head 3")
    expect(seen.page.locator(".st-key-detail .under").first).to_contain_text("to 6.1")
    expect(seen.page.locator(".st-key-detail .why")).to_contain_text("from 6.12 to 3.19")
    assert_nothing_overlaps(seen)
    expect(seen.page.locator(".iv-head")).to_have_count(30 * 10)
    square(seen, 28, "MLP").click()
    expect(seen.title().first).to_have_text("layer 28 · MLP")
    assert seen.said == []
