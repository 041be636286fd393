"""The explain page in Chromium: the card comes at once, its tests stream in, its names lead on."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE

pytestmark = pytest.mark.browser
PROMPT = "The Eiffel Tower is in the city of"


def open_card(visit, **how):
    """The card of the first run, with its tests."""
    seen = visit(**how).ready()
    seen.page.get_by_role("link", name="Explain", exact=True).first.click()
    return wait_for_tests(seen)


def wait_for_tests(seen):
    seen.page.wait_for_selector(".iv-card .iv-row")
    expect(seen.page.locator(".iv-progress")).to_have_count(0)
    return seen.idle()


def box(locator):
    found = locator.bounding_box()
    assert found is not None
    return found


def assert_nothing_is_cut(seen):
    """No number is cut, no two labels of the rise lie on each other, and the page scrolls in no other direction."""
    page = seen.page
    cut = """(cells) => cells.filter((c) => c.scrollWidth > c.clientWidth + 1).map((c) => c.textContent)"""
    assert page.locator(".iv-table td.iv-num, .iv-cell-text, .iv-word").evaluate_all(cut) == []
    labels = [box(each) for each in page.locator(".iv-what-name").all()]
    for i, a in enumerate(labels):
        for b in labels[i + 1 :]:
            assert a["y"] + a["height"] <= b["y"] + 2 or b["y"] + b["height"] <= a["y"] + 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert seen.said == []
    assert seen.outside == []


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_the_card_of_the_demo_model(visit, size, dark):
    seen = open_card(visit, size=size, dark=dark)
    page = seen.page
    sentence = page.locator(".iv-band p")
    expect(sentence).to_contain_text("The model says ␣Rome")
    expect(sentence).to_contain_text("Tested: without")
    expect(sentence).to_contain_text("One prompt, so an anecdote.")
    expect(page.locator(".iv-row")).to_have_count(10)
    assert all(text != "…" for text in page.locator(".iv-row td.iv-num").all_inner_texts())
    assert_nothing_is_cut(seen)


def test_keys_and_clicks_on_the_card(visit):
    seen = open_card(visit)
    page = seen.page
    rows = page.locator(".iv-row")
    rows.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-expanded", "true")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".iv-detail")).to_have_count(0)
    # a cell of the map that is not among the rows becomes one
    page.locator(".iv-map rect").first.click()
    expect(page.locator(".iv-detail")).to_have_count(1)
    page.locator(".iv-word.iv-word").nth(8).click()
    seen.ready()
    expect(page.locator(".where")).to_contain_text("position 8")


def test_ablate_leads_to_the_edits(visit):
    seen = open_card(visit)
    seen.page.get_by_role("button", name="Ablate", exact=True).click()
    seen.idle()
    expect(seen.page.get_by_role("heading", name="What follows when something inside is changed?")).to_be_visible()
    expect(seen.page.get_by_role("link", name="Edits (1 on)").first).to_be_visible()


def test_where_paris_comes_from_on_the_real_model(visit, real_model):
    seen = visit().ready().open_model(real_model).type_prompt(PROMPT).run()
    page = seen.page
    page.get_by_role("link", name="Explain", exact=True).first.click()
    page.wait_for_selector(".iv-card .iv-row")
    expect(page.locator(".iv-band p")).to_contain_text("it rises from layer 23 and is first from layer 28 on")
    wait_for_tests(seen)
    sentence = page.locator(".iv-band p")
    expect(sentence).to_contain_text("it looks at ‘iffel’ and writes ␣Paris")
    expect(sentence).to_contain_text("when the last position cannot see ‘␣city’")
    expect(page.locator(".iv-on td").first).to_have_text("L23H4")
    for size, dark in ((WIDE, False), (WIDE, True), (NARROW, True), (NARROW, False)):
        seen.resize(size).wear(dark)
        expect(page.locator(".iv-what-name", has_text="first: layer 28 MLP")).to_be_visible()
        assert_nothing_is_cut(seen)


def test_words_that_do_not_fit_begin_at_the_end_and_stay_where_the_reader_scrolls(visit):
    seen = visit(size=(700, 800)).ready()
    seen.page.get_by_role("link", name="Explain", exact=True).first.click()
    wait_for_tests(seen)
    sideways, said = seen.page.locator(".iv-sideways"), seen.page.locator(".iv-said")
    assert sideways.evaluate("s => s.scrollWidth > s.clientWidth")
    edge = box(sideways)
    assert box(said)["x"] + box(said)["width"] <= edge["x"] + edge["width"] + 2
    assert box(seen.page.locator(".iv-line").first)["x"] <= edge["x"] + 2
    sideways.evaluate("s => s.scrollTo(10, 0)")
    expect(sideways).to_have_js_property("scrollLeft", 10)
    seen.page.locator(".iv-row").nth(1).click()
    expect(sideways).to_have_js_property("scrollLeft", 10)


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_saliency_under_the_card(visit, size, dark):
    seen = open_card(visit, size=size, dark=dark)
    page = seen.page
    page.get_by_role("radio", name="integrated gradients").click()
    tokens = page.locator(".saliency span")
    expect(tokens).to_have_count(15)
    expect(tokens.nth(0)).to_have_class("held")
    expect(tokens.nth(11)).to_have_class("says")
    assert "rgba(47, 111, 189" in (tokens.nth(7).get_attribute("style") or "")
    seen.idle()
    assert_nothing_is_cut(seen)
