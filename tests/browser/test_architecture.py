"""The architecture page in Chromium: open, close, search, strip, attach; sizes and themes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from intravisto_ui.sidebar.examples import DEFAULT
from tests.browser import deep
from tests.browser.conftest import NARROW, WIDE

pytestmark = pytest.mark.browser


def open_picture(visit, **how):
    seen = visit(**how).ready()
    seen.page.get_by_role("link", name="Architecture", exact=True).first.click()
    seen.page.wait_for_selector(".iv-picture .iv-node")
    return seen.idle()


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_the_picture_of_the_demo_model(visit, size, dark) -> None:
    seen = open_picture(visit, size=size, dark=dark)
    page = seen.page
    expect(page.locator(".iv-pill")).to_have_count(1)
    expect(page.locator(".iv-picture .iv-times")).to_have_text("×6")
    page.locator('.iv-line[data-k="3"] rect').nth(1).click()
    expect(page.locator(".iv-detail h3")).to_have_text("model.layers.3")
    page.locator(".iv-search").fill("model.layers.4.mlp.up_proj")
    page.locator(".iv-hits button").first.click()
    expect(page.locator(".iv-detail h3")).to_have_text("model.layers.4.mlp.up_proj")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert seen.said == []
    assert seen.outside == []


def test_what_is_attached_is_drawn_and_follows_the_next_run(visit) -> None:
    seen = open_picture(visit)
    page = seen.page
    page.locator(".iv-search").fill("model.layers.2.mlp")
    page.locator(".iv-hits button").first.click()
    page.locator('.iv-attach [data-statistic="histogram"]').click()
    bars = page.locator(".iv-of-histogram .iv-column")
    expect(bars).to_have_count(40)
    before = bars.first.locator("title").text_content()
    # what was opened and chosen stays
    expect(page.locator(".iv-detail h3")).to_have_text("model.layers.2.mlp")
    seen.type_prompt("1 2 3 4 5 6").run()
    expect(bars.first.locator("title")).not_to_have_text(before or "")
    page.get_by_role("link", name="Heatmap", exact=True).first.click()
    seen.ready()
    page.get_by_role("link", name="Architecture", exact=True).first.click()
    expect(page.locator(".iv-detail h3")).to_have_text("model.layers.2.mlp")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(bars).to_have_count(0)
    assert seen.said == []


# tokens behind a short prompt, which take so long that a quick machine draws the picture again while they come
MANY = 50


def test_what_is_measured_follows_each_generated_token(visit, tmp_path) -> None:
    seen = visit().ready()
    page = seen.page
    seen.type_model(str(deep.write(tmp_path / "deep")))
    page.locator(".badges", has_text=f"{deep.LAYERS} layers").wait_for()
    seen.idle().type_prompt("Q:").run()
    page.get_by_role("link", name="Architecture", exact=True).first.click()
    page.locator(".iv-search").fill("model.layers.40")
    page.locator(".iv-hits button").first.click()
    page.locator('.iv-attach [data-statistic="tokens"]').click()
    rows = page.locator(".iv-of-tokens tr")
    expect(rows.first).to_be_visible()
    before = rows.count()
    page.evaluate(
        """() => {
          const root = document.querySelector('[data-drawn]') ?? [...document.querySelectorAll('*')]
            .map((each) => each.shadowRoot?.querySelector('[data-drawn]')).find(Boolean);
          window.seen = new Set();
          new MutationObserver(() => root.dataset.calls && window.seen.add(Number(root.dataset.calls)))
            .observe(root, { attributes: true, attributeFilter: ['data-calls'] });
        }"""
    )
    page.locator(".st-key-max_new_tokens input").fill(str(MANY))
    page.locator(".st-key-max_new_tokens input").press("Enter")
    page.wait_for_selector(".status.stale")
    page.locator(".st-key-run button").click()
    expect(page.locator(".iv-options .iv-now")).to_be_visible()
    page.wait_for_selector(".status.done")
    expect(page.locator(".iv-options .iv-now")).to_have_count(0)
    calls = page.evaluate("[...window.seen]")
    assert len(calls) >= 3, calls
    assert calls == sorted(calls)
    expect(rows).to_have_count(before - DEFAULT.max_new_tokens + MANY)
    assert seen.said == []
