"""A conversation in Chromium: the switch, the roles, the tokens that follow the typing, and the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import tiny
from tests.browser.conftest import NARROW, Visit
from tests.browser.test_heatmap import overlap

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_chat_model(tiny.build_character_model("llama"), tmp_path_factory.mktemp("chat"))


def test_a_conversation_with_roles(visit: Visits, folder: Path) -> None:
    seen = visit(size=NARROW).ready()
    page = seen.page
    expect(page.locator(".st-key-chat")).to_have_count(0)
    seen.type_model(str(folder))
    page.locator(".st-key-chat label").first.click()
    field = page.locator(".st-key-prompt textarea")
    expect(page.get_by_text("You say")).to_be_visible()
    field.fill("")
    field.press_sequentially("ab")
    chips = page.locator(".st-key-chips .iv-chip")
    expect(chips).to_have_text(["<bos>", "<user>", "a", "b", "<eos>", "<assistant>"])
    expect(chips.nth(1)).to_have_class("iv-chip iv-special")
    page.get_by_role("button", name="Roles").click()
    page.locator(".st-key-system textarea").press_sequentially("be")
    expect(chips).to_have_text(["<bos>", "<system>", "b", "e", "<eos>", "<user>", "a", "b", "<eos>", "<assistant>"])
    page.keyboard.press("Escape")
    line = [
        page.locator(f".st-key-chat_line {part}").bounding_box()
        for part in (".st-key-chat", "[data-testid=stPopoverButton]")
    ]
    assert not overlap(*line)
    assert abs(line[0]["y"] - line[1]["y"]) < 20, "they stand in one line"
    seen.run()
    expect(page.locator(".st-key-strip .iv-special").first).to_have_text("<bos>")
    expect(page.locator(".st-key-strip .iv-chip").nth(1)).to_have_text("<system>")
    side = page.locator('[data-testid="stSidebarContent"]')
    assert side.evaluate("(e) => e.scrollWidth <= e.clientWidth")
    assert not seen.said


def test_one_click_takes_the_second_start_token_away(visit: Visits) -> None:
    seen = visit().ready()
    field = seen.page.locator(".st-key-prompt textarea")
    field.fill("<|bos|>1 2 3")
    seen.page.get_by_role("button", name="Remove one").click()
    expect(field).to_have_value("1 2 3")
    expect(seen.page.get_by_text("twice")).to_have_count(0)
    expect(seen.page.locator(".st-key-chips .iv-special")).to_have_count(1)
