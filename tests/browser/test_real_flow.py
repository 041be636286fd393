"""The flow page on a real model: sinks set aside and shown again, and a text of 300 tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit

pytestmark = [pytest.mark.browser, pytest.mark.real]
Opens = Callable[..., Visit]
Visits = Callable[..., Visit]
EIFFEL = "The Eiffel Tower is in the city of"
STORY = (
    "In the spring of 1887 the engineers of a young company began to raise an iron tower above the river. Many people "
    "in the city wrote letters against it, and painters said that the thing would spoil every view. The work went on "
    "through two winters, and each month the newspapers printed a drawing of how far it had come. When the doors were "
    "opened, visitors climbed the stairs by the thousand, and those who had complained came too. A clerk named Henri "
    "kept a diary of those days. He noted the price of a ticket, the weather, and the names of the guests who signed "
    "the book on the first floor. Years later his granddaughter found the diary in a box under a bed and gave it to a "
    "museum. The museum put it behind glass, beside a bolt from the tower and a photograph of the men who had set it. "
    "School classes come to see it every autumn, and the guide always asks the children the same question about the "
    "building and where it stands. Some of them have been there with their parents, some have only seen it on a "
    "postcard or in a film, and a few have built it at home from small grey bricks on a kitchen table in the rain. "
    "Most of them know the answer at once, because there is only one such tower in the world. "
) + EIFFEL
SIZES = [(WIDE, False), (NARROW, True)]


@pytest.fixture
def look(visit: Visits, real_model: Path) -> Opens:
    """`look(EIFFEL, size=NARROW)`: the flow of a text that was just run."""

    def one(text: str, size: tuple[int, int] = WIDE, dark: bool = False) -> Visit:
        seen = visit(path="flow", size=size, dark=dark)
        seen.page.wait_for_selector("rect.iv-node")
        seen.idle().open_model(real_model).type_prompt(text).run()
        expect(seen.page.locator(".headline .where")).to_contain_text(text.split()[-1])
        seen.page.wait_for_selector("rect.iv-node")
        return seen.idle()

    return one


def overlapping(seen: Visit, what: str) -> list[str]:
    """Neighbours among texts of an axis that run into each other."""
    found: list[str] = seen.page.locator(what).evaluate_all(
        """(marks) => {
            const boxes = marks.map((mark) => {
                const range = document.createRange();
                range.selectNodeContents(mark);
                const text = range.getBoundingClientRect(), own = mark.getBoundingClientRect();
                const cut = getComputedStyle(mark).overflow === "hidden";
                const right = cut ? Math.min(text.right, own.right) : text.right;
                return { left: text.left, right, top: text.top, bottom: text.bottom, text: mark.textContent };
            }).filter(({ text }) => text);
            const beside = (a, b) => a.left < b.right - 1 && b.left < a.right - 1;
            const hits = (a, b) => beside(a, b) && a.top < b.bottom - 2 && b.top < a.bottom - 2;
            const after = (a, i) => boxes.slice(i + 1).filter((b) => hits(a, b)).map((b) => a.text + " / " + b.text);
            return boxes.flatMap(after);
        }"""
    )
    return found


@pytest.mark.parametrize(("size", "dark"), SIZES)
def test_sinks_are_set_aside_at_full_depth_and_shown_again(look: Opens, size: tuple[int, int], dark: bool) -> None:
    seen = look(EIFFEL, size, dark)
    line = seen.page.locator(".st-key-sinks_line")
    expect(line).to_contain_text("Attention sinks are set aside: 0 ‘The’")
    assert line.bounding_box()["height"] < 45, "one line that says so"
    expect(seen.page.locator(".iv-rowname", has_text="final norm")).to_have_count(1)
    expect(seen.page.locator(".iv-rowname", has_text="embeddings")).to_have_count(1)
    if size == WIDE:
        scrolled = seen.page.locator(".iv-scroller").evaluate("(e) => e.scrollHeight - e.clientHeight")
        assert scrolled <= 16, "all rows are in sight"
    expect(seen.page.locator(".iv-ends")).to_have_count(0)
    columns = [seen.page.locator(f'rect.iv-node[data-part="block.22.{p}"]') for p in (2, 1)]
    widths = [float(column.first.get_attribute("width")) for column in columns]
    assert widths[0] > 3 * widths[1], "iffel joins the last position in layer 23"
    for theme in (dark, not dark):
        seen.wear(theme)
        assert overlapping(seen, ".iv-tick") == []
        assert overlapping(seen, ".iv-rowname") == []
    seen.page.locator(".st-key-sinks_undo button").first.click()
    expect(line).to_contain_text("Attention sinks are shown")
    first = seen.page.locator('rect.iv-node[data-part="block.0.0"]')
    expect(first).to_be_attached()
    assert not seen.said
    assert not seen.outside


@pytest.mark.parametrize(("size", "dark"), SIZES)
def test_a_long_text_shows_the_whole_and_folds_what_has_no_mass(look: Opens, size: tuple[int, int], dark: bool) -> None:
    seen = look(STORY, size, dark)
    expect(seen.page.locator(".iv-overview")).to_be_visible()
    assert seen.page.locator(".iv-overbar").count() > 250
    expect(seen.page.locator(".iv-insight").first).to_be_attached()
    expect(seen.page.locator(".iv-gap").first).to_be_attached()
    for theme in (dark, not dark):
        seen.wear(theme)
        expect(seen.page.locator(".iv-overbar").first).to_be_attached()
        assert overlapping(seen, ".iv-tick") == []
    chips = seen.page.locator(".iv-strip:not(.iv-passive) .iv-chip")
    expect(chips.first).to_have_attribute("title", re.compile("of the mass comes from it"))
    heaviest = chips.evaluate_all(
        """(chips) => chips
            .map((chip) => [parseFloat(chip.style.getPropertyValue("--iv-mass")), chip.textContent])
            .sort((a, b) => b[0] - a[0]).slice(0, 3).map(([, text]) => text)"""
    )
    assert "iffel" in heaviest
    seen.page.get_by_role("radio", name="Threshold graph").click()
    graph = seen.page.locator(".iv-graph")
    start = graph.locator("circle.iv-node").first
    expect(start).to_be_visible()
    # the picture before it may stay for a moment
    expect(seen.page.locator(".iv-flow")).to_have_count(0)
    frame, dot = graph.locator(".iv-scroller").bounding_box(), start.bounding_box()
    assert frame["x"] < dot["x"] < frame["x"] + frame["width"], "the start is in sight"
    expect(graph.locator(".iv-overview")).to_be_visible()
    expect(graph.locator("text.iv-text", has_text="Paris").first).to_be_attached()
    assert overlapping(seen, ".iv-tick") == []
    expect(chips.first).to_have_css("--iv-mass", "0px")
    seen.page.get_by_role("radio", name="Route").click()
    expect(seen.page.locator(".iv-common")).to_contain_text("all tokens, on average")
    assert not seen.said
