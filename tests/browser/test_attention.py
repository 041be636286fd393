"""The attention page in Chromium: pointing, freezing, choosing heads, keys, themes, long texts, the offline file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import intravisto_core as iv
from intravisto_core.figures import attention_page
from intravisto_core.figures.attention_page import INDEX, open_book, write_attention_pages
from intravisto_core.figures.page import component_page
from intravisto_core.figures.web.attention_payload import LEAST, PageParts, attention_payload, cube_packet, steer_packet
from tests.browser.conftest import NARROW, WIDE, Visit
from tests.figures.made_attention import large_page

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]
INDUCTION = "cat dog sun cat dog sun cat dog"


def open_attention(visit: Visits, **how: Any) -> Visit:
    seen = visit(path="attention", **how)
    seen.page.wait_for_selector(".iv-attention .iv-token")
    seen.idle()
    expect(seen.page.locator(".iv-cap", has_text="looks at").first).to_be_visible()
    return seen.idle()


def token(seen: Visit, position: int, side: str = "") -> Any:
    within = f'[data-side="{side}"] ' if side else ""
    return seen.page.locator(f'{within}.iv-token[data-position="{position}"]').first


def pill(seen: Visit, side: str) -> Any:
    return seen.page.locator(f'.iv-pill[data-side="{side}"]')


def choose_head(seen: Visit, name: str) -> None:
    field = seen.page.locator(".iv-jump")
    field.fill(name)
    field.press("Enter")
    expect(seen.page.locator(".iv-panel h3")).to_have_text(name)


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)])
def test_pointing_freezing_and_heads(visit: Visits, size: Any, dark: bool) -> None:
    seen = open_attention(visit, size=size, dark=dark)
    token(seen, 8).hover()
    expect(pill(seen, "observer")).to_contain_text("␣Italy")
    expect(pill(seen, "observed")).to_contain_text("at pointer")
    token(seen, 11).dblclick()
    expect(pill(seen, "observer")).to_contain_text("frozen")
    token(seen, 8).hover()
    expect(pill(seen, "observer")).to_contain_text(":")
    expect(pill(seen, "observed")).to_contain_text("␣Italy")
    token(seen, 8).dblclick()
    expect(pill(seen, "observed")).to_contain_text("frozen")
    token(seen, 3).hover()
    expect(pill(seen, "observed")).to_contain_text("␣Italy")
    # a click on the map shows that head everywhere, and its number stands under the shaded token
    box = seen.page.locator(".iv-mapscroll").bounding_box()
    head = seen.page.locator(".iv-mapscroll")
    head.click(position={"x": box["width"] * 0.4, "y": 150})
    title = seen.page.locator(".iv-panel h3")
    expect(title).to_have_text("L2H1" if size == WIDE else re.compile(r"^L\dH\d$"))
    expect(seen.page.locator(".iv-matrix h3")).to_contain_text(title.inner_text())
    choose_head(seen, "L2H1")
    expect(token(seen, 10).locator("small")).not_to_have_text("")
    pill(seen, "observed").click()
    pill(seen, "observer").click()
    expect(pill(seen, "observer")).to_contain_text("at pointer")
    # two texts freeze apart
    seen.page.locator(".iv-text .iv-segments button", has_text="two").click()
    token(seen, 6, "observer").dblclick()
    expect(pill(seen, "observer")).to_contain_text("frozen")
    expect(pill(seen, "observed")).to_contain_text("at pointer")
    token(seen, 2, "observed").dblclick()
    expect(pill(seen, "observed")).to_contain_text("frozen")
    token(seen, 4, "observed").hover()
    token(seen, 7, "observer").hover()
    expect(pill(seen, "observed").locator("b")).to_have_text(
        token(seen, 2, "observed").locator("span").first.inner_text()
    )
    wide = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    assert seen.said == []
    assert seen.outside == []


def test_pills_show_the_token_before_all_other_words(visit: Visits) -> None:
    seen = open_attention(visit, size=NARROW)
    token(seen, 8).dblclick()
    token(seen, 6).hover()
    expect(pill(seen, "observed").locator("b")).to_have_text("␣capital")
    _check_pills(seen)
    token(seen, 6).dblclick()
    expect(pill(seen, "observed")).to_contain_text("frozen")
    _check_pills(seen)
    assert seen.said == []


def _check_pills(seen: Visit) -> None:
    """No token is cut, and nothing of a pill that is frozen, its ✕ included."""
    for side in ("observer", "observed"):
        for part in (pill(seen, side).locator("b"), pill(seen, side)):
            assert part.evaluate("(e) => e.scrollWidth <= e.clientWidth"), (side, part.inner_text())


def test_keys_move_in_text_matrix_and_map(visit: Visits) -> None:
    seen = open_attention(visit)
    page = seen.page
    # a page that was just opened may take the focus to its own beginning, so each key says where it is pressed
    token(seen, 11).press("ArrowLeft")
    expect(pill(seen, "observer")).to_contain_text("␣A")
    token(seen, 10).press("Enter")
    expect(pill(seen, "observer")).to_contain_text("frozen")
    token(seen, 10).press("Escape")
    expect(pill(seen, "observer")).to_contain_text("at pointer")
    heads = page.locator(".iv-mapscroll")
    heads.press("ArrowRight")
    expect(page.locator(".iv-panel h3")).to_have_text("L5H0")
    heads.press("ArrowDown")
    expect(page.locator(".iv-panel h3")).to_have_text("L4H0")
    heads.press("Escape")
    expect(page.locator(".iv-panel h3")).to_have_text("All heads")
    matrix = page.locator(".iv-matrixscroll")
    matrix.press("ArrowUp")
    matrix.press("Enter")
    expect(pill(seen, "observed")).to_contain_text("frozen")
    assert seen.said == []


def test_why_here_is_walked_to_the_head_that_brought_it(visit: Visits) -> None:
    seen = open_attention(visit)
    page = seen.page
    choose_head(seen, "L3H3")
    token(seen, 9).dblclick()
    page.locator(".iv-panel .iv-segments button", has_text="why here").click()
    table = page.locator("svg.iv-why")
    expect(table).to_be_visible()
    # against another key, and without a part
    held = page.get_by_role("combobox", name="Held against")
    held.select_option(index=3)
    expect(page.locator(".iv-inside .iv-small").first).to_contain_text(", position ")
    page.locator(".iv-cuts .iv-act").first.click()
    expect(page.locator(".iv-cuts tr", has_not=page.locator(".iv-act")).nth(1)).to_contain_text("%")
    held.select_option("mean")
    expect(page.locator(".iv-inside .iv-small").first).to_contain_text("on average")
    name = table.locator(".iv-lead").first
    wanted = name.evaluate("(mark) => mark.firstChild.textContent")
    name.click()
    expect(page.locator(".iv-panel h3")).to_have_text(wanted)
    expect(pill(seen, "observer")).to_contain_text("frozen")
    # a strength that may be negative, in every slice
    page.locator(".iv-optionline button", has_text="projection").click()
    page.locator(".iv-map .iv-segments button", has_text="this link").click()
    page.locator(".iv-matrix .iv-segments button", has_text="heads × keys").click()
    expect(page.locator(".iv-map .iv-legend")).to_contain_text("−100")
    expect(page.locator(".iv-matrix .iv-legend")).to_contain_text("look most at one other key")
    assert seen.said == []


def test_an_edit_from_a_head_and_the_difference(visit: Visits) -> None:
    seen = open_attention(visit)
    page = seen.page
    choose_head(seen, "L2H1")
    token(seen, 9).dblclick()
    page.locator(".iv-actions button", has_text="Ablate").click()
    page.wait_for_selector("table.effects")
    page.get_by_role("link", name="Attention", exact=True).click()
    page.wait_for_selector(".iv-attention .iv-token")
    page.get_by_role("radio", name="difference").click()
    expect(page.locator(".iv-text .iv-legend")).to_contain_text("more than in the baseline")
    expect(page.locator(".iv-panel h3")).to_have_text("L2H1")
    assert seen.said == []


def test_a_large_model_and_a_long_text_stay_usable(chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "large.html"
    file.write_text(large_page(n_layers=80, n_heads=64, length=2000), "utf-8")
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    expect(page.locator(".iv-token")).to_have_count(2000)
    page.locator(".iv-map .iv-tool", has_text="⤢").click()
    scroller = page.locator(".iv-mapscroll")
    assert scroller.evaluate("(e) => e.scrollWidth <= e.clientWidth + 1"), "80 × 64 heads fit across the page"
    page.locator(".iv-map .iv-tool", has_text="⤢").click()
    matrix = page.locator(".iv-matrixscroll")
    page.locator(".iv-matrix .iv-segments button", has_text="+").click(click_count=4)
    matrix.evaluate("(e) => { e.scrollTop = 4000; e.scrollLeft = 3000; }")
    box = matrix.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    expect(page.locator('.iv-pill[data-side="observer"] b')).not_to_have_text("w1999")
    assert matrix.evaluate("(e) => e.scrollTop") > 1000
    assert said == []
    page.close()


def test_two_runs_and_a_template_in_one_text(chromium: Any, tmp_path: Path) -> None:
    """Other tokens are dotted, tokens of a template are one chip, and a column is what the rows say of its key."""
    engine = iv.open_model("demo")
    trace = engine.trace(INDUCTION)
    ids = [each.id for each in trace.tokens]
    before = engine.trace((*ids[:6], ids[4], *ids[7:]))
    cubes = [cube_packet(each.attention(), engine.model.n_heads) for each in (trace, before)]
    fold = {"start": 1, "stop": 4, "words": "3 tokens of the chat template"}
    parts = PageParts(
        sinks=trace.sinks(),
        before=before.head_targets(),
        sinks_before=before.sinks(),
        packets=[*cubes, steer_packet(trace.id, {}, {"n": 0, "state": {}}, [fold])],
        start={"query": 7, "key": 5, "lockQuery": True, "lockKey": True, "sinks": "show"},
    )
    text = component_page("Two", "demo", {"attention": attention_payload(trace.head_targets(), parts)}, [])
    (tmp_path / "two.html").write_text(text.replace('id="attention"', 'id="attention" hidden', 1), "utf-8")
    page = chromium.new_page(viewport={"width": 1024, "height": 768})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "two.html").as_uri())
    page.locator("#attention").evaluate(
        """async (place) => {
            // a choice of another page can come before this one has a size
            const { state } = place.querySelector(".iv-attention").intravisto;
            for (const heads of ["L3H1", "all"]) {
                state.change({ heads });
                await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            }
            place.hidden = false;
        }"""
    )
    other = page.locator(".iv-token.iv-other")
    expect(other).to_have_count(1)
    expect(other).to_have_attribute("data-position", "6")
    assert before.tokens[6].shown in other.get_attribute("title")
    assert "dotted" in other.evaluate("(e) => getComputedStyle(e).textDecorationStyle")
    expect(page.locator(".iv-text .iv-legend")).to_contain_text("another token than in the baseline")
    chip = page.locator(".iv-fold")
    expect(chip).to_contain_text("⋯ 3")
    expect(page.locator('.iv-token[data-position="2"]')).to_be_hidden()
    change = trace.attention().weights.mean(0) - before.attention().weights.mean(0)
    in_template = 100 * float(change[7, 1:4].sum())
    shown = chip.locator("small").inner_text().replace("−", "-")
    assert float(shown.replace("<1", "0")) == pytest.approx(in_template, abs=1)
    token_4 = page.locator('.iv-token[data-position="4"]')
    token_4.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.position") == "0", "keys pass over the chip"
    columns = page.locator(".iv-attention").evaluate(
        """({ intravisto: { state: { length, made: { slice } } } }) => Array.from({ length }, (_, key) => {
            const column = new Array(length).fill(0);
            slice.visitColumn(key, (query, weight) => (column[query] = weight));
            return column;
        })"""
    )
    assert np.abs(np.array(columns).T - change).max() < 1e-3
    assert said == []
    page.close()
    engine.close()


def test_the_offline_page_asks_for_nothing(chromium: Any, tmp_path: Path) -> None:
    engine = iv.open_model("demo")
    trace = engine.trace(INDUCTION)
    book = open_book(lambda view: engine.view(view, session=trace.session), trace.id, types=engine.head_types())
    ((name, page_text),) = write_attention_pages(book)
    (tmp_path / name).write_text(page_text, "utf-8")
    context = chromium.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / name).as_uri())
    field = page.locator(".iv-jump")
    field.fill("L3H1")
    field.press("Enter")
    expect(page.locator(".iv-matrix h3")).to_contain_text("L3H1")
    page.locator('.iv-token[data-position="5"]').dblclick()
    expect(page.locator('.iv-pill[data-side="observer"]')).to_contain_text("frozen")
    expect(page.locator(".iv-scores").first).to_contain_text("induction")
    assert [url for url in asked if not url.startswith("file:")] == []
    context.close()
    engine.close()


def test_files_of_a_large_page_lead_to_each_other(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Index, file, another file, and back, without a network: head, readings and what is frozen come along."""
    monkeypatch.setattr(attention_page, "fits_cube", lambda *_: False)
    monkeypatch.setattr(attention_page, "LARGEST_FILE", 1000)
    monkeypatch.setattr(attention_page, "CHUNK", 2)
    engine = iv.open_model("demo")
    trace = engine.trace(INDUCTION)
    book = open_book(lambda view: engine.view(view, session=trace.session), trace.id, types=engine.head_types())
    for name, page_text in write_attention_pages(book):
        (tmp_path / name).write_text(page_text, "utf-8")
    context = chromium.new_context(offline=True, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / INDEX).as_uri())
    observer, observed = (page.locator(f'.iv-pill[data-side="{side}"]') for side in ("observer", "observed"))
    matrix = page.locator(".iv-matrix h3")
    expect(matrix).to_contain_text("All heads, mean")
    page.locator('.iv-token[data-position="5"]').dblclick()
    page.locator('.iv-token[data-position="2"]').dblclick()
    expect(observer).to_contain_text("frozen")
    # a head by the jump box, in its file
    _jump(page, "L3H1")
    page.wait_for_url("**/layer_03_heads_00-01.html#**")
    expect(matrix).to_contain_text("L3H1")
    _check_reading(page, trace, (3, 1), 5, 2)
    assert observer.locator("b").inner_text() == trace.tokens[5].shown
    expect(observer).to_contain_text("frozen")
    expect(observed).to_contain_text("frozen")
    # one of the same file, one of another by a click on the map
    _jump(page, "L3H0")
    expect(matrix).to_contain_text("L3H0")
    _check_reading(page, trace, (3, 0), 5, 2)
    box = page.locator(".iv-attention").evaluate("(e) => e.intravisto.map.boxOf(4 * 4 + 3)")
    page.locator(".iv-mapscroll").click(position={"x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2})
    page.wait_for_url("**/layer_04_heads_02-03.html#**")
    expect(matrix).to_contain_text("L4H3")
    _check_reading(page, trace, (4, 3), 5, 2)
    observer.click()
    page.locator('.iv-token[data-position="7"]').hover()
    expect(observer.locator("b")).to_have_text(trace.tokens[7].shown)
    expect(observed).to_contain_text("frozen")
    page.locator(".iv-text .iv-segments button", has_text="two").click()
    _jump(page, "all")
    page.wait_for_url("**/index.html#**")
    expect(matrix).to_contain_text("All heads, mean")
    expect(page.locator(".iv-tokens")).to_have_count(2)
    assert [url for url in asked if not url.startswith("file:")] == []
    assert said == []
    context.close()
    engine.close()


def _jump(page: Any, name: str) -> None:
    field = page.locator(".iv-jump")
    field.fill(name)
    field.press("Enter")


def _check_reading(page: Any, trace: Any, head: tuple[int, int], query: int, key: int) -> None:
    """Both readings of the page are what the engine says."""
    row, column = page.locator(".iv-attention").evaluate(
        """({ intravisto: { state } }, [query, key]) => {
            const [row, column] = [0, 0].map(() => new Array(state.length).fill(0));
            state.made.slice.visitRow(query, (at, weight) => (row[at] = weight));
            state.made.slice.visitColumn(key, (at, weight) => (column[at] = weight));
            return [row, column];
        }""",
        [query, key],
    )
    weights = trace.attention(*head, sinks="hide").weights[0]
    assert np.abs(np.array(row) - weights[query]).max() < LEAST
    assert np.abs(np.array(column) - weights[:, key]).max() < LEAST
    assert max(row) == pytest.approx(weights[query].max(), rel=1e-3)
