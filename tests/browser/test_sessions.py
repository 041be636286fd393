"""Several people and tabs at once, and a run that is cancelled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser import deep
from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


@pytest.fixture(scope="module")
def deep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deep.write(tmp_path_factory.mktemp("deep"))


@pytest.fixture
def strangers(chromium: Any, server: str) -> Iterator[Callable[[], Visit]]:
    """Opens the app in a browser profile of its own each time."""
    opened = []

    def one() -> Visit:
        opened.append(chromium.new_context())
        return Visit(opened[-1].new_page(), server)

    yield one
    for context in opened:
        context.close()


def open_folder(seen: Visit, folder: Path) -> Visit:
    """Choose a model of this machine, and wait until it is open."""
    seen.type_model(str(folder))
    expect(seen.page.get_by_text(f"{deep.LAYERS} layers", exact=True)).to_be_visible(timeout=120_000)
    seen.page.wait_for_selector(".status.stale")
    return seen.idle()


def headed(seen: Visit) -> str:
    return seen.page.locator(".st-key-strip .iv-strip").inner_text()


def test_two_people_at_once_do_not_mix(strangers: Callable[[], Visit]) -> None:
    one, other = strangers().ready(), strangers().ready()
    one.type_prompt("Monday Tuesday")
    other.type_prompt("1 2 3 4 5 6")
    for seen in (one, other):
        seen.page.locator(".st-key-run button").click()
    for seen in (one, other):
        seen.page.wait_for_selector(".status.done")
        seen.idle()
    expect(one.page.locator(".st-key-strip .iv-strip")).to_contain_text("Tuesday")
    expect(other.page.locator(".st-key-strip .iv-strip")).to_contain_text("6")
    # a click on the picture of the run before counts for nothing; the panel is drawn after the new picture
    expect(other.title()).to_have_text("final norm · position 6")
    for seen in (one, other):
        seen.idle()
    one.cell(3, 1).click()
    other.cell(5, 3).click()
    expect(one.title()).to_have_text("layer 2 · position 1")
    expect(other.title()).to_have_text("layer 4 · position 3")
    assert "Tuesday" not in headed(other)
    assert one.page.url != other.page.url


def test_two_tabs_on_one_address_have_a_copy_each(visit: Visits) -> None:
    one = visit().ready()
    one.type_prompt("1 2 3 4 5 6").run()
    for _ in range(3):
        one.cell(4, 2).click()
        one.cell(3, 2).click()
    expect(one.title()).to_have_text("layer 2 · position 2")
    one.idle()
    other = visit(path=one.page.url.rpartition("/")[2]).ready()
    expect(other.page.locator(".st-key-prompt textarea")).to_have_value("1 2 3 4 5 6")
    expect(other.page.locator(".st-key-notice")).to_contain_text("a copy of its own")
    assert other.page.url != one.page.url
    expect(other.title()).to_have_text("layer 2 · position 2")
    other.cell(5, 3).click()
    expect(other.title()).to_have_text("layer 4 · position 3")
    other.type_prompt("Monday Tuesday").run()
    expect(one.title()).to_have_text("layer 2 · position 2")
    one.cell(2, 1).click()
    expect(one.title()).to_have_text("layer 1 · position 1")
    assert "Tuesday" not in headed(one)


def test_a_run_is_cancelled_by_its_button(visit: Visits, deep_folder: Path) -> None:
    seen = open_folder(visit().ready(), deep_folder)
    seen.type_prompt("a long story")
    amount = seen.page.locator(".st-key-max_new_tokens input")
    amount.fill("1000")
    amount.press("Enter")
    seen.page.locator(".st-key-run button").click()
    cancel = seen.page.locator(".st-key-cancel button")
    expect(cancel).to_be_visible()
    beyond_the_prompt = re.compile(r"\b(?:[2-9]\d|\d{3,}) of 1013")
    expect(seen.page.locator(".status.busy")).to_contain_text(beyond_the_prompt)
    expect(seen.cell(0, 1)).to_be_attached()
    cancel.click()
    expect(seen.page.locator(".status.done")).to_contain_text("Cancelled after")
    expect(seen.page.locator(".st-key-run button")).to_be_visible()
    seen.idle()
    expect(seen.page.locator(".st-key-strip .iv-strip")).to_contain_text("generated")
    assert not seen.said


def test_a_large_grid_keeps_its_labels_and_opens_the_right_cell(visit: Visits, deep_folder: Path) -> None:
    seen = open_folder(visit().ready(), deep_folder)
    seen.type_prompt("abcdefghi " * 19 + "abcde")
    amount = seen.page.locator(".st-key-max_new_tokens input")
    amount.fill("4")
    amount.press("Enter")
    seen.run()
    expect(seen.page.locator(".iv-note")).to_have_text("80 rows × 200 positions")
    grid = seen.page.locator(".st-key-picture [role=grid]")
    grid.evaluate("(e) => { e.scrollLeft = 4000; e.scrollTop = 900; }")
    frame, cell = grid.bounding_box(), in_the_middle(seen)
    for label in (".iv-label", ".iv-column"):
        shown = [box for box in boxes(seen, label) if inside(box, frame)]
        assert len(shown) > 5, f"{label} stays in sight"
    name = cell.get_attribute("aria-label")
    cell.click()
    row, position = name.split(":")[0].split(", ")
    expect(seen.title()).to_have_text(f"{row} · {position}")
    expect(seen.page.locator(".st-key-panel .iv-pick").first).to_be_visible()
    assert f": {seen.page.locator('.st-key-panel .iv-pick').first.inner_text()}, " in name
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert not seen.said


def boxes(seen: Visit, selector: str) -> list[dict[str, float]]:
    found = seen.page.locator(f".st-key-picture {selector}")
    return found.evaluate_all("(all) => all.map((e) => e.getBoundingClientRect().toJSON())")


def inside(box: dict[str, float], frame: dict[str, float]) -> bool:
    across = frame["x"] - 1 <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    return across and frame["y"] - 1 <= box["y"] and box["y"] + box["height"] <= frame["y"] + frame["height"] + 1


def in_the_middle(seen: Visit) -> Any:
    """The cell that lies in the middle of what the grid shows."""
    seen.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    frame = seen.page.locator(".st-key-picture [role=grid]").bounding_box()
    x, y = frame["x"] + 0.6 * frame["width"], frame["y"] + 0.6 * frame["height"]
    cells = boxes(seen, ".iv-cell")
    hit = next(
        i for i, b in enumerate(cells) if b["x"] <= x < b["x"] + b["width"] and b["y"] <= y < b["y"] + b["height"]
    )
    return seen.page.locator(".st-key-picture .iv-cell").nth(hit)
