"""Panel parts, help and followed tokens as a user has them: they open, fit, and follow the selection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


def choose(seen: Visit, part: str) -> None:
    seen.page.locator(".st-key-cell_part").get_by_role("radio", name=part, exact=True).click()


def overflow(seen: Visit, selector: str) -> list[str]:
    """Texts in that part of the page that stick out at its right."""
    return seen.page.locator(selector).first.evaluate(
        """(box) => {
          const edge = box.getBoundingClientRect().right + 1;
          const within = (e) => [e, ...(e.shadowRoot?.querySelectorAll("*") ?? [])];
          const all = [...box.querySelectorAll("*")].flatMap(within);
          const out = all.filter((e) => e.getBoundingClientRect().right > edge);
          return out.map((e) => e.textContent.slice(0, 40)).filter(Boolean);
        }"""
    )


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_every_part_of_the_panel_fits(visit: Visits, size: tuple[int, int], dark: bool) -> None:
    seen = visit(size=size, dark=dark).ready()
    seen.cell(5, 11).click()
    expect(seen.title()).to_have_text("layer 4 · position 11")
    for part, sign in (
        ("attention", "rank before → after"),
        ("MLP", "rank before → after"),
        ("shares", "L1 proximity"),
        ("sampling", "can be drawn"),
        ("layers", "over the layers"),
    ):
        choose(seen, part)
        expect(seen.page.locator(".st-key-cell_more")).to_contain_text(sign)
        seen.idle()
        assert not overflow(seen, ".st-key-detail")
    assert not seen.said


def test_a_generated_token_is_told_apart_from_its_runner_up(visit: Visits) -> None:
    seen = visit().ready()
    chip = seen.page.locator(".iv-chip.iv-generated").first
    chip.click()
    expect(seen.page.locator("div.why")).to_contain_text(f"Why {chip.inner_text()}?")
    steps = seen.page.locator(".iv-steps button")
    expect(steps).to_have_count(5)
    name = steps.nth(1).inner_text()
    layer, part = name.rsplit(" ", 1)
    steps.nth(1).click()
    expect(seen.title()).to_have_text(f"{layer} · position 11")
    pressed = seen.page.locator(".st-key-cell_part").get_by_role("radio", name=part, exact=True)
    expect(pressed).to_be_checked()
    expect(seen.page.locator("div.why")).to_contain_text("Why")
    seen.cell(3, 4).click()
    expect(seen.page.locator("div.why")).to_have_count(0)


def test_the_question_mark_explains(visit: Visits) -> None:
    seen = visit().ready()
    seen.page.locator(".st-key-help_menu button").click()
    dialog = seen.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Where it misleads")
    dialog.get_by_text("The colours", exact=True).click()
    expect(dialog).to_contain_text("rank 1 is the top")
    seen.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_colour_follows_a_typed_token(visit: Visits) -> None:
    seen = visit().ready()
    seen.page.locator(".st-key-colour_slot [role=combobox]").click()
    seen.page.get_by_role("option", name="rank of a token", exact=True).click()
    expect(seen.page.locator(".iv-scale")).to_contain_text("rank of")
    # the token is that of the question, which all pages share
    seen.page.locator(".st-key-question button").first.click()
    seen.page.locator(".st-key-question_target input").fill("Paris")
    expect(seen.page.locator(".st-key-question_target_space button").first).to_be_visible()
    seen.page.locator(".st-key-question_target_space button").first.click()
    expect(seen.page.locator(".iv-scale")).to_contain_text("rank of ␣Paris")
    assert not seen.said
