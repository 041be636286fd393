"""The heatmap page as a user has it: run, click, slide, switch pages, reload."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE, Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


def test_first_open_shows_a_picture_by_itself(visit: Visits) -> None:
    seen = visit().ready()
    expect(seen.page.locator(".status.done")).to_be_visible()
    expect(seen.title()).to_contain_text("final norm · position 11")
    assert not seen.said
    assert not seen.outside


def test_a_click_on_a_cell_opens_it_in_the_panel(visit: Visits) -> None:
    seen = visit().ready()
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    expect(seen.page.locator(".headline .where")).to_contain_text("layer 3 · position 8")
    told = seen.cell(4, 8).get_attribute("aria-label")
    first = seen.page.locator(".st-key-panel .iv-pick").first
    expect(first).to_be_visible()
    assert f": {first.inner_text()}, " in told


def test_a_press_on_a_cell_that_is_drawn_anew_is_a_click(visit: Visits) -> None:
    """Browsers give no click where the pressed element is gone before the button comes up."""
    seen = visit().ready()
    seen.cell(3, 2).hover()
    seen.page.mouse.down()
    seen.cell(3, 2).evaluate("(cell) => cell.replaceWith(cell.cloneNode(true))")
    seen.page.mouse.up()
    expect(seen.title()).to_contain_text("layer 2 · position 2")


def test_a_click_does_not_send_the_picture_again(visit: Visits) -> None:
    seen = visit().ready()
    grid = seen.page.locator("[role=grid]")
    grid.evaluate("(e) => { e.mine = true; }")
    cells = seen.page.locator("[role=gridcell]").first
    cells.evaluate("(e) => { e.mine = true; }")
    seen.cell(3, 6).click()
    expect(seen.title()).to_have_text("layer 2 · position 6")
    seen.idle()
    assert grid.evaluate("(e) => e.mine")
    assert cells.evaluate("(e) => e.mine")


def test_arrow_keys_move_and_escape_clears(visit: Visits) -> None:
    seen = visit().ready()
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    for key in ("ArrowDown", "ArrowLeft", "ArrowLeft"):
        seen.page.keyboard.press(key)
    expect(seen.title()).to_have_text("layer 2 · position 6")
    seen.page.keyboard.press("Escape")
    expect(seen.title()).to_have_text("No cell selected")


def test_a_generated_token_asks_why_it_came(visit: Visits) -> None:
    seen = visit().ready()
    seen.cell(2, 3).click()
    expect(seen.title()).to_have_text("layer 1 · position 3")
    chip = seen.page.locator(".iv-chip.iv-generated").first
    chip.click()
    expect(seen.title()).to_have_text("final norm · position 11")
    expect(seen.page.locator(".headline .where")).to_contain_text(f"why {chip.inner_text()}?")


def test_the_layer_slider_cuts_rows_and_runs_nothing(visit: Visits) -> None:
    seen = visit().ready()
    status = seen.page.locator(".status.done").inner_text()
    thumbs = seen.page.locator(".st-key-rows_6 input[type=range]")
    thumbs.nth(0).focus()
    for _ in range(3):
        seen.page.keyboard.press("ArrowRight")
    expect(seen.page.locator('[aria-label^="layer 1, "]')).to_have_count(0)
    expect(seen.cell(3, 11)).to_be_visible()
    seen.idle()
    assert seen.page.locator(".status.done").inner_text() == status


def test_a_lens_change_redraws_and_runs_nothing(visit: Visits) -> None:
    seen = visit().ready()
    before = seen.cell(2, 8).get_attribute("aria-label")
    status = seen.page.locator(".status.done").inner_text()
    seen.page.locator(".st-key-lens_slot [role=combobox]").click()
    seen.page.get_by_role("option", name="input", exact=True).click()
    expect(seen.cell(2, 8)).not_to_have_attribute("aria-label", before)
    seen.idle()
    assert seen.page.locator(".status.done").inner_text() == status
    assert "lens=input" in seen.page.url


def test_running_a_prompt(visit: Visits) -> None:
    seen = visit().ready()
    seen.type_prompt("1 2 3 4 5 6")
    expect(seen.page.locator(".status.stale")).to_contain_text("Changed, not run")
    seen.run()
    expect(seen.page.locator(".iv-head")).to_contain_text("6")
    expect(seen.page.locator(".status.done")).to_be_visible()


def test_tokens_follow_the_typing(visit: Visits) -> None:
    seen = visit().ready()
    count = seen.page.locator(".count")
    before = count.inner_text()
    seen.page.locator(".st-key-prompt textarea").press_sequentially(" and of Italy")
    expect(count).not_to_have_text(before)
    expect(seen.page.locator(".status.stale")).to_be_visible()


def test_hostile_tokens_are_shown_literally(visit: Visits) -> None:
    seen = visit().ready()
    seen.type_prompt("<s> <br> %{y} $x$ &lt; <img src=x onerror=alert(1)>").run()
    strip = seen.page.locator(".st-key-strip .iv-strip")
    for piece in ("<", "%", "{", "$", "&"):
        expect(strip).to_contain_text(piece)
    joined = "".join(strip.locator(".iv-chip:not(.iv-generated)").all_inner_texts()).replace("␣", " ")
    assert joined.endswith("<s> <br> %{y} $x$ &lt; <img src=x onerror=alert(1)>")
    assert seen.page.locator("img[src=x], .headline br, .iv-strip br").count() == 0
    assert not seen.said


def test_page_switch_and_back_keeps_choices_and_selection(visit: Visits) -> None:
    seen = visit().ready()
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    seen.page.locator(".st-key-colour_slot [role=combobox]").click()
    seen.page.get_by_role("option", name="entropy").click()
    expect(seen.page.locator(".iv-foot")).to_contain_text("entropy")
    seen.page.get_by_role("link", name="About this model").click()
    expect(seen.page.get_by_text("stream adds up")).to_be_visible()
    seen.page.get_by_role("link", name="Heatmap").click()
    expect(seen.page.locator(".iv-foot")).to_contain_text("entropy")
    expect(seen.title()).to_have_text("layer 3 · position 8")
    expect(seen.page.locator(".iv-selected")).to_have_count(1)
    assert "w=" in seen.page.url


def test_one_step_back_leads_to_the_page_before(visit: Visits) -> None:
    """Streamlit opens `/flow` and then completes the address: this is one entry of the history."""
    seen = visit().ready()
    told = seen.page.evaluate(
        """() => {
            const lengths = [history.length];
            for (const url of ["/flow", "/flow?w=1", "/flow?w=1&lens=input"]) {
                history.pushState({}, "", url);
                lengths.push(history.length);
            }
            return lengths.map((n) => n - lengths[0]);
        }"""
    )
    assert told == [0, 1, 1, 2]


def test_reload_finds_the_workspace(visit: Visits) -> None:
    seen = visit().ready()
    seen.type_prompt("1 2 3 4").run()
    address = seen.page.url
    seen.page.reload()
    seen.ready()
    assert seen.page.url == address
    assert "1%202" not in address
    expect(seen.page.locator(".st-key-prompt textarea")).to_have_value("1 2 3 4")
    expect(seen.page.locator(".status.done")).to_be_visible()


def test_an_error_keeps_the_last_picture(visit: Visits) -> None:
    seen = visit().ready()
    seen.type_prompt("the " * 300).run()
    box = seen.page.locator(".st-key-problem")
    expect(box).to_contain_text("128")
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")
    seen.page.get_by_role("button", name="Dismiss").click()
    expect(box).to_have_count(0)


def test_a_folder_that_is_none(visit: Visits) -> None:
    seen = visit().ready()
    seen.type_model("/no/such/folder")
    expect(seen.page.locator(".st-key-problem")).to_contain_text("/no/such/folder")
    seen.cell(4, 8).click()
    expect(seen.title()).to_have_text("layer 3 · position 8")


def test_a_fresh_server_can_be_asked_for_any_page(visit: Visits) -> None:
    seen = visit(path="model")
    expect(seen.page.get_by_text("stream adds up")).to_be_visible()
    expect(seen.page.locator(".brand")).to_have_count(1)


def test_nothing_overlaps_and_the_page_does_not_scroll_sideways(visit: Visits) -> None:
    seen = visit().ready()
    for size in (WIDE, NARROW):
        seen.page.set_viewport_size({"width": size[0], "height": size[1]})
        seen.page.wait_for_function("([w, h]) => innerWidth === w && innerHeight === h", arg=list(size))
        check_layout(seen.idle(), below=size == NARROW)


def check_layout(seen: Visit, below: bool) -> None:
    page = seen.page
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.locator('[data-testid="stMain"]').evaluate("(e) => e.scrollWidth <= e.clientWidth")
    names = ("headline", "strip", "options", "picture", "detail")
    boxes = {name: page.locator(f".st-key-{name}").bounding_box() for name in names}
    for one, other in pairwise(names):
        assert not overlap(boxes[one], boxes[other]), (one, other, boxes)
    assert boxes["options"]["height"] < 90, "the options stand in one line"
    is_below = boxes["detail"]["y"] >= boxes["picture"]["y"] + boxes["picture"]["height"]
    assert is_below is below
    assert boxes["detail"]["y"] + 90 < page.viewport_size["height"], "the panel begins in sight"


def test_dark_mode_follows_the_system(visit: Visits) -> None:
    seen = visit(dark=True).ready()
    app = seen.page.locator('[data-testid="stApp"]')
    expect(app).to_have_css("background-color", "rgb(16, 20, 27)")
    frame = seen.page.locator(".iv-frame")
    expect(frame).to_have_css("background-color", "rgb(16, 20, 27)")
    expect(frame).to_have_css("color", "rgb(227, 232, 239)")
    seen.page.get_by_role("button", name="Export", exact=True).click()
    expect(seen.page.locator(".cap", has_text="This picture")).to_have_css("color", "rgb(163, 173, 187)")


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    """Whether two boxes share more than a pixel."""
    across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
    return across > 1 and down > 1
