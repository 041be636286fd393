"""Pages where there is little room: options in one line, no empty band, scroll bars that take room, what is cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit
from tests.conftest import CHROMIUM_FLAGS, CHROMIUM_NAMES

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


def go(seen: Visit, name: str) -> Visit:
    seen.page.get_by_role("link", name=name, exact=True).first.click()
    return seen.idle()


def tops(seen: Visit, what: str) -> list[int]:
    return [round(box["y"]) for each in seen.page.locator(what).all() if (box := each.bounding_box()) and box["height"]]


def spread(numbers: list[int]) -> int:
    return max(numbers) - min(numbers)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_names_of_options_stand_in_one_line(visit: Visits, size: tuple[int, int]) -> None:
    seen = visit(size=size).ready()
    go(seen, "Layer").page.wait_for_selector(".iv-source")
    assert spread(tops(seen, ".st-key-options [data-testid=stWidgetLabel]")) <= 1
    go(seen, "Flow").page.get_by_role("radio", name="Attribution").click()
    seen.page.wait_for_selector(".st-key-heads_map")
    assert spread(tops(seen, ".st-key-options [data-testid=stWidgetLabel]")) <= 1


def test_patching_has_no_empty_band_and_buttons_in_one_line(visit: Visits) -> None:
    seen = visit(size=NARROW).ready()
    go(seen, "Patching").page.wait_for_selector(".st-key-patch_run button")
    options = seen.page.locator(".st-key-patch_options").bounding_box()
    title = seen.page.get_by_text("Try one of these").bounding_box()
    assert title["y"] - options["y"] - options["height"] < 30
    assert options["height"] < 80
    assert len(set(tops(seen, "[class*='st-key-patch_try_'] button"))) == 1


def test_a_closed_fold_has_no_strip_over_what_stands_below(visit: Visits) -> None:
    seen = visit().ready()
    page = go(seen, "Architecture").page
    expect(page.locator(".iv-picture .iv-times")).to_have_text("×6")
    expect(page.locator(".iv-picture .iv-line").first).to_be_attached()
    page.locator(".iv-picture .iv-fold > .iv-sign").first.click()
    expect(page.locator(".iv-picture .iv-line")).to_have_count(0)


@pytest.fixture
def barred(chromium: Any, server: str) -> Iterator[Visit]:
    """The app in a browser whose scroll bars take room, as on most desks."""
    program = next(path for path in map(shutil.which, CHROMIUM_NAMES) if path)
    own = chromium.browser_type.launch(
        executable_path=program, args=CHROMIUM_FLAGS, ignore_default_args=["--hide-scrollbars"]
    )
    page = own.new_page(viewport={"width": NARROW[0], "height": NARROW[1]})
    yield Visit(page, server)
    own.close()


def test_a_scroll_bar_does_not_bring_the_other(barred: Visit) -> None:
    seen = barred.ready()
    go(seen, "Flow").page.get_by_role("radio", name="Attribution").click()
    seen.page.wait_for_selector(".st-key-heads_map .iv-scroller")
    for size in (NARROW, (1024, 560), WIDE):
        seen.resize(size)
        for each in seen.page.locator(".iv-scroller:visible").all():
            wide, bar = each.evaluate("(e) => [e.scrollWidth - e.clientWidth, e.offsetWidth - e.clientWidth]")
            assert wide <= 0 or not bar, "it is no wider than what the other bar leaves"
    go(seen, "Explain").page.wait_for_selector(".iv-row")
    cut = seen.page.locator(".iv-sideways").evaluate("(e) => e.scrollWidth - e.clientWidth")
    assert cut <= 0, "the card is as wide as the page that scrolls leaves it"
