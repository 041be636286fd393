"""The standalone page in Chromium: opened from a file, with no network."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from intravisto_core.figures import numbers
from intravisto_core.figures.text import printable
from intravisto_core.figures.theme import HUES, colour_scale, contrast, css, ink_on
from intravisto_core.figures.web import Mark, component_source, panel_data, strip_tokens
from intravisto_core.figures.web.bundle import read_asset
from intravisto_core.records import Token
from intravisto_core.sites import TokenKind
from tests.figures import made

pytestmark = pytest.mark.browser

GRID = "document.querySelector('.iv-grid').intravisto"
Opener = Callable[..., Any]


def wait_until(page: Any, condition: str, arg: Any = None) -> None:
    """Waits for a script to hold. Asked from here: Playwright's own waiting evaluates text in the page, which the
    page's Content-Security-Policy forbids."""
    deadline = time.monotonic() + 90
    while not page.evaluate(condition, arg):
        assert time.monotonic() < deadline, f"did not come true: {condition}"
        page.wait_for_timeout(20)


def cell(page: Any, row: int, position: int) -> Any:
    """The cell at a heatmap row and a position, which is in the page."""
    return page.locator("#" + page.evaluate(f"{GRID}.cellId(...{GRID}.find({row}, {position}))"))


def selection(page: Any) -> list[int]:
    return page.evaluate(
        "[window.__intravisto.selection?.row ?? null, window.__intravisto.selection?.position ?? null]"
    )


def test_cells_show_tokens_literally(open_page: Opener) -> None:
    grid = made.grid(length=30)
    page = open_page(grid)
    page.wait_for_selector(".iv-cell")
    for row in range(6):
        for position in range(8):
            shown = cell(page, row, position).locator(".iv-token").text_content()
            assert shown == printable(made.shown(int(grid.token_ids[row, position, 0])))
    heads = page.locator(".iv-reads span:last-child").all_text_contents()
    assert heads[1:5] == ["<br>", "%{y}", "$x$", "&lt;"]
    chips = page.locator(".iv-chip").all_text_contents()
    assert chips[1:] == [printable(t.shown) for t in grid.tokens[1:]]
    assert page.locator(".iv-grid s, .iv-grid br, .iv-strip br").count() == 0


def test_numbers_headers_and_roles(open_page: Opener) -> None:
    grid = made.grid()
    page = open_page(grid)
    shown = cell(page, 3, 4)
    assert shown.locator(".iv-line").text_content() == numbers.whole_percent(float(grid.p_max[3, 4]))
    assert shown.get_attribute("role") == "gridcell"
    assert shown.get_attribute("aria-label").startswith("layer 2, position 4: ")
    scroller = page.locator("[role=grid]")
    assert scroller.get_attribute("aria-rowcount") == "7"
    assert page.locator(".iv-label").first.text_content() == "final norm"
    assert page.locator(".iv-border").count() == 1
    assert "top probability" in page.locator(".iv-foot").text_content()
    page.evaluate(f"{GRID}.scroller.scrollTo(9000, 0)")
    wait_until(page, f"{GRID}.range.right === 24")
    generated = page.locator(".iv-column.iv-generated").evaluate_all("(all) => all.map((e) => e.dataset.column)")
    assert generated == [str(p) for p in range(18, 24)]


def test_click_selects_and_the_strip_follows(open_page: Opener) -> None:
    page = open_page(made.grid())
    cell(page, 2, 5).click()
    assert selection(page) == [2, 5]
    assert page.locator(".iv-chip.iv-on").get_attribute("data-position") == "5"
    assert page.locator(".iv-label.iv-on").text_content() == "layer 1"
    assert page.locator(".iv-column.iv-on .iv-reads i").text_content() == "5"
    mark, clicked = page.locator(".iv-selected").bounding_box(), cell(page, 2, 5).bounding_box()
    assert (mark["x"], mark["y"]) == (clicked["x"], clicked["y"])


def test_a_generated_token_selects_what_says_it(open_page: Opener) -> None:
    page = open_page(made.grid(prompt_length=18))
    page.locator(".iv-chip[data-position='20']").click()
    assert selection(page) == [5, 19]
    assert page.evaluate("window.__intravisto.selection.target") == 20
    assert page.locator(".iv-chip.iv-target").get_attribute("data-position") == "20"
    page.locator(".iv-chip[data-position='3']").click()
    assert selection(page) == [5, 3]


def test_keys(open_page: Opener) -> None:
    page = open_page(made.grid())
    cell(page, 3, 4).click()
    moves = [
        ("ArrowUp", [4, 4]),
        ("ArrowRight", [4, 5]),
        ("ArrowDown", [3, 5]),
        ("ArrowLeft", [3, 4]),
        ("Home", [3, 0]),
        ("End", [3, 23]),
        ("PageDown", [0, 23]),
        ("PageUp", [5, 23]),
        ("ArrowRight", [5, 23]),
    ]
    for key, place in moves:
        page.keyboard.press(key)
        assert selection(page) == place, key
    described = page.locator("[role=grid]").get_attribute("aria-activedescendant")
    assert page.locator(f"#{described}").get_attribute("aria-label").startswith("final norm, position 23")
    page.keyboard.press("Enter")
    assert page.locator(".iv-hover").is_visible()
    page.keyboard.press("Escape")
    assert selection(page) == [None, None]
    assert page.locator(".iv-selected").count() == 0
    assert not page.locator(".iv-hover").is_visible()


def test_hover_lists_the_top_five(open_page: Opener) -> None:
    grid = made.grid()
    page = open_page(grid, shares=made.shares())
    cell(page, 3, 4).hover()
    names = page.locator(".iv-hover .iv-name").all_text_contents()
    assert names == [printable(made.shown(int(i))) for i in grid.token_ids[3, 4, :5]]
    values = page.locator(".iv-hover .iv-number").all_text_contents()
    assert values == [numbers.probability(float(p)) for p in grid.probabilities[3, 4, :5]]
    text = page.locator(".iv-hover").text_content()
    assert f"entropy {numbers.nats(float(grid.entropy[3, 4]))}" in text
    assert f"attention {numbers.share(float(made.shares().attention[2, 4]))} of the stream after it (norm)" in text
    at = page.locator(".iv-frame").bounding_box()
    page.mouse.move(at["x"] + at["width"] - 20, at["y"] + 150)
    box = page.locator(".iv-hover").bounding_box()
    assert box["x"] + box["width"] <= page.viewport_size["width"], "it is not cut off at the right"


def test_updates_show_what_is_promoted_and_suppressed(open_page: Opener) -> None:
    grid = made.update()
    page = open_page(grid)
    cell(page, 3, 4).hover()
    values = page.locator(".iv-hover .iv-number").all_text_contents()
    raised, lowered = grid.logits[3, 4, :5], grid.suppressed_logits[3, 4, :3]
    assert values == [numbers.change(float(v)) for v in (*raised, *lowered)]
    cell(page, 0, 4).hover()
    assert "attention is nothing at this row" in page.locator(".iv-hover").text_content()


def test_a_large_grid_scrolls_with_labels_in_sight(open_page: Opener) -> None:
    grid = made.grid(78, 200, 160, nasty=False)
    page = open_page(grid)
    assert page.locator(".iv-cell").count() < 1500
    page.evaluate(f"{GRID}.scroller.scrollTo(7000, 1200)")
    wait_until(page, f"{GRID}.range.left > 50 && {GRID}.range.top > 20")
    frame = page.locator(".iv-frame").bounding_box()
    x, y = frame["x"] + 420, frame["y"] + 300
    page.mouse.click(x, y)
    row, position = selection(page)
    chosen = cell(page, row, position).bounding_box()
    assert chosen["x"] <= x <= chosen["x"] + chosen["width"]
    assert chosen["y"] <= y <= chosen["y"] + chosen["height"]
    assert position > 90
    expected = made.shown(int(grid.token_ids[row, position, 0]))
    assert cell(page, row, position).locator(".iv-token").text_content() == expected
    label, head = page.locator(".iv-label.iv-on").bounding_box(), page.locator(".iv-column.iv-on").bounding_box()
    assert abs(label["x"] - frame["x"]) < 3
    assert label["y"] == chosen["y"]
    assert abs(head["y"] - page.locator(".iv-window").bounding_box()["y"]) < 3, "under the strip of the whole text"
    assert head["x"] == chosen["x"]
    page.keyboard.press("Control+End")
    assert selection(page) == [0, 199]
    last = cell(page, 0, 199).bounding_box()
    assert last["x"] + last["width"] <= frame["x"] + frame["width"]


def test_a_strip_over_a_long_text_shows_what_is_in_sight_and_leads_there(open_page: Opener) -> None:
    page = open_page(made.grid(8, 200, 160, nasty=False))
    bars, sight = page.locator(".iv-overbars").bounding_box(), page.locator(".iv-insight")
    page.mouse.click(bars["x"] + bars["width"] * 150.5 / 200, bars["y"] + 8)
    assert selection(page)[1] == 150
    each = bars["width"] / 200
    first, wide = (float(sight.get_attribute(name)) for name in ("x", "width"))
    assert first <= 150 * each <= first + wide < bars["width"] * 0.9
    page.evaluate(f"{GRID}.scroller.scrollTo(0, 0)")
    wait_until(page, f"{GRID}.frame.querySelector('.iv-insight').getAttribute('x') === '0'")
    page.evaluate(f"{GRID}.setMarks([{{ row: 2, position: 199, kind: 'found' }}])")
    spot = page.locator(".iv-overspot")
    assert abs(float(spot.get_attribute("x")) - 199.5 * each) < 3
    page.locator(".iv-overview").hover(position={"x": 300, "y": 10})
    assert "Shaded: in sight" in page.locator(".iv-overview").get_attribute("title")


def test_a_short_text_has_no_strip(open_page: Opener) -> None:
    page = open_page(made.grid())
    assert not page.locator(".iv-overview").is_visible()


def test_a_selection_of_another_trace_is_not_followed(open_page: Opener) -> None:
    page = open_page(made.grid())
    cell(page, 3, 4).click()
    detail = "{{ row: 1, position: 2, rev: '{}' }}"
    say = f"window.__intravisto.dispatchEvent(new CustomEvent('select', {{{{ detail: {detail} }}}}))"
    page.evaluate(say.format("other"))
    assert page.locator(".iv-label.iv-on").text_content() == "layer 2"
    page.evaluate(say.format("trace-1"))
    assert page.locator(".iv-label.iv-on").text_content() == "layer 0"


def test_export_from_the_page(open_page: Opener) -> None:
    grid = made.grid(length=30)
    page = open_page(grid, marks=(Mark(2, 3, "injected"), Mark(3, 3, "ablated")))
    tree = ElementTree.fromstring(page.evaluate(f"{GRID}.toSvg()"))
    texts = [t.text for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    titles = [t.text for t in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert {"<br>", "✚", "✕"} <= set(texts)
    assert len(titles) == 1 + 6 * 30
    labels = [t for t in tree.iter("{http://www.w3.org/2000/svg}text") if (t.text or "").startswith("layer ")]
    beside = [float(label.get("y")) for label in labels]
    assert len(beside) == 4
    rows = [float(r.get("y")) for r in tree.findall(".//{*}g/{*}rect")][::30]
    assert all(row < y < above for row, above, y in zip(rows[1:5], rows[2:], beside, strict=True)), "each at its row"
    plain = re.compile(r"#[0-9a-f]{6}|rgb\(\d+, \d+, \d+\)|none|url\(#\w+\)")
    paints = {v for e in tree.iter() for k, v in e.attrib.items() if k in ("fill", "stroke", "stop-color")}
    assert all(plain.fullmatch(v) for v in paints)
    for format in ("svg", "png"):
        with page.expect_download() as waiting:
            page.locator(f"[data-format={format}]").click()
        assert waiting.value.suggested_filename == f"heatmap-block-output.{format}"
        assert waiting.value.path().stat().st_size > 10_000


def test_marks_are_outlines_with_a_glyph(open_page: Opener) -> None:
    page = open_page(made.grid(), marks=(Mark(2, 3, "injected"), Mark(3, 3, "ablated"), Mark(99, 3, "found")))
    assert page.locator(".iv-mark b").all_text_contents() == ["✚", "✕"]
    page.evaluate(f"{GRID}.setMarks([{{ row: 1, position: 1, kind: 'scaled' }}])")
    assert page.locator(".iv-mark b").all_text_contents() == ["×"]


def test_the_theme_is_followed_while_the_page_is_open(open_page: Opener) -> None:
    page = open_page(made.grid())
    fill = "getComputedStyle(document.querySelector('.iv-cell')).backgroundColor"
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        colours = [css(c) for c in colour_scale("residual", scheme == "dark")]
        wait_until(page, f"(colours) => colours.includes({fill})", colours)


def test_resizing_keeps_the_last_column_reachable(open_page: Opener) -> None:
    page = open_page(made.grid())
    page.set_viewport_size({"width": 700, "height": 600})
    wait_until(page, f"{GRID}.size.width < 700")
    cell(page, 4, 2).click()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        frame, beside = page.locator(".iv-frame").bounding_box(), cell(page, 4, selection(page)[1] + 1).bounding_box()
        assert beside["x"] + beside["width"] <= frame["x"] + frame["width"] + 1, "one more cell is in sight"
    page.keyboard.press("End")
    frame, last = page.locator(".iv-frame").bounding_box(), cell(page, 4, 23).bounding_box()
    assert last["x"] + last["width"] <= frame["x"] + frame["width"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_in_a_notebook_the_page_runs_in_a_frame(open_page: Opener) -> None:
    page = open_page(f"<!doctype html><meta charset='utf-8'><body>{made.grid()._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.locator(".iv-cell").nth(9).click()
    assert frame.locator(".iv-selected").count() == 1
    assert frame.locator(".iv-line").count() > 0


def module_page(body: str, *modules: str) -> str:
    """A page that runs a script beside the exports of some modules of figures/web."""
    inlined = "\n".join(read_asset(f"{m}.js") for m in modules)
    script = inlined.replace("export ", "") + body
    return f'<!doctype html><meta charset="utf-8"><body><script type="module">{script}</script>'


def test_colours_are_those_of_the_python_side_and_legible(open_page: Opener) -> None:
    page = open_page(module_page("window.scale = colourScale;", "shared/colour"))
    for name in (*HUES, "viridis", "diverging"):
        for dark in (False, True):
            drawn = page.evaluate(f"scale('{name}', {str(dark).lower()})")
            for step, colour in zip(drawn, colour_scale(name, dark), strict=True):
                assert step["fill"] == css(colour)
                ink = tuple(int(step["ink"][i : i + 2], 16) for i in (1, 3, 5))
                assert ink == ink_on(colour)
                assert contrast(ink, colour) >= 4.5


def test_numbers_are_written_as_on_the_python_side(open_page: Opener) -> None:
    functions = {
        "significant": numbers.significant,
        "probability": numbers.probability,
        "rank": numbers.rank,
        "verdict": numbers.verdict,
        "wholePercent": numbers.whole_percent,
        "share": numbers.share,
        "wholeShare": numbers.whole_share,
        "nats": numbers.nats,
        "change": numbers.change,
    }
    values = [s * m * 10.0**e for s in (1, -1) for m in (1, 1.005, 2.125, 4.995, 9.995, 9.9951) for e in range(-7, 5)]
    values += [0.0, 1.0, 0.9995, 0.99949, 0.995, 0.125]
    page = open_page(module_page(f"window.f = {{ {', '.join(functions)} }};", "shared/numbers"))
    for name, function in functions.items():
        taken = [v for v in values if name not in ("probability", "wholePercent") or 0 <= v <= 1]
        written = page.evaluate(f"{json.dumps(taken)}.map(f.{name})")
        assert written == [function(v) for v in taken], name


def _in_script(data: object) -> str:
    return json.dumps(data).replace("<", "\\u003c")


def component_page(name: str, data: object) -> str:
    """A page with one component in a shadow root, its reports kept in `window.said`."""
    script, style = component_source(name)
    body, _, exported = script.rpartition("export default function")
    return (
        '<!doctype html><meta charset="utf-8"><body><div id="host"></div><script type="module">'
        f"{body}\nconst mount = function{exported}\nwindow.said = [];\n"
        "const root = document.getElementById('host').attachShadow({ mode: 'open' });\n"
        f"root.innerHTML = {json.dumps('<style>' + style + '</style>')};\n"
        "const say = (name, value) => window.said.push([name, value]);\n"
        "window.give = (data) => mount({ data, parentElement: root, setStateValue: say, setTriggerValue: say }) && 0;\n"
        f"window.give({_in_script(data)});</script>"
    )


def test_the_panel_in_a_shadow_root(open_page: Opener) -> None:
    grid = made.grid()
    writes = [made.update()]
    data = panel_data(
        grid, 3, 4, listed=6, pins={int(grid.token_ids[3, 4, 0]): "#1f5fae"}, shares=made.shares(), writes=writes
    )
    page = open_page(component_page("panel", data))
    names = page.locator(".iv-pick").all_text_contents()
    assert names == [printable(made.shown(int(i))) for i in grid.token_ids[3, 4]]
    page.locator(".iv-pick").nth(2).click()
    assert page.evaluate("said") == [["pin", int(grid.token_ids[3, 4, 2])]]
    assert page.locator(".iv-pinned").count() >= 1
    assert page.locator(".iv-stack").count() == 2
    assert "attention promotes" in page.locator(".iv-write").text_content()
    raised = panel_data(made.update(), 3, 4)
    page.evaluate(f"give({_in_script(raised)})")
    up, down = (len(each["entries"]) for each in raised["lists"])
    bars = page.locator(".iv-list .iv-gauge i").evaluate_all("(all) => all.map((bar) => bar.className)")
    assert bars == ["iv-attention"] * up + [""] * down, "what attention raised is in its colour"


def test_the_panel_of_a_cell_that_was_left_is_dimmed(open_page: Opener) -> None:
    page = open_page(component_page("panel", panel_data(made.grid(), 3, 4)))
    say = "window.__intravisto.dispatchEvent(new CustomEvent('select', {{ detail: {{ row: 3, position: {} }} }}))"
    page.evaluate(say.format(5))
    assert page.locator(".iv-panel.iv-left").count() == 1
    page.evaluate(say.format(4))
    assert page.locator(".iv-panel.iv-left").count() == 0


def strip_data(**changes: Any) -> dict[str, Any]:
    return {
        "tokens": strip_tokens(made.tokens(24, 18)),
        "prompt": 18,
        "rev": "a",
        "top": 5,
        "sel": None,
        "label": True,
        "passive": False,
    } | changes


def test_the_strip_reports_and_newer_acts_win(open_page: Opener) -> None:
    page = open_page(component_page("strip", strip_data(sel={"row": 2, "position": 6, "n": 7})))
    assert page.locator(".iv-chip.iv-on").get_attribute("data-position") == "6"
    page.locator(".iv-chip[data-position='9']").click()
    assert page.evaluate("said") == [["selection", {"row": 2, "position": 9, "how": "strip", "rev": "a", "n": 8}]]
    old = strip_data(sel={"row": 2, "position": 6, "n": 7})
    page.evaluate("(data) => give(data)", old)
    assert page.locator(".iv-chip.iv-on").get_attribute("data-position") == "9"
    page.evaluate("(data) => give(data)", strip_data(sel={"row": 2, "position": 4, "n": 8}))
    assert page.locator(".iv-chip.iv-on").get_attribute("data-position") == "4"
    page.evaluate("(data) => give(data)", strip_data(rev="b", sel={"row": 2, "position": 3, "n": 1}))
    assert page.locator(".iv-chip.iv-on").get_attribute("data-position") == "3"


SORTS = (
    Token(1, "", "<s>", 0, True, True, TokenKind.SPECIAL),
    Token(7, "", "⟨E2⟩", 1, True, False, TokenKind.BYTES, "€", 0),
    Token(8, "", "⟨82⟩", 2, True, False, TokenKind.BYTES, "€", 1),
    Token(9, "", "⟨C3⟩", 3, True, False, TokenKind.BYTES),
    Token(0, "", "<unk>", 4, True, True, TokenKind.UNKNOWN),
    Token(99, "", "⟨unused 99⟩", 5, True, False, TokenKind.UNUSED),
    Token(5, " שלום", "␣שלום", 6, True, False),
)


@pytest.mark.parametrize("passive", [True, False])
def test_the_strip_tells_sorts_of_tokens_apart(open_page: Opener, passive: bool) -> None:
    page = open_page(component_page("strip", strip_data(tokens=strip_tokens(SORTS), prompt=7, passive=passive)))
    chips = page.locator(".iv-chip")
    assert chips.all_text_contents() == [t.shown for t in SORTS]
    marked = [[c for c in chips.nth(i).get_attribute("class").split() if c != "iv-chip"] for i in range(7)]
    assert marked == [
        ["iv-special"],
        ["iv-bytes"],
        ["iv-joined", "iv-bytes"],
        ["iv-bytes"],
        ["iv-unknown"],
        ["iv-unused"],
        [],
    ]
    titles = [chips.nth(i).get_attribute("title") for i in range(7)]
    for title, said in zip(
        titles, ("special token, id 1", "‘€’", "‘€’", "bytes, id 9", "unknown", "id 99", "id 5"), strict=True
    ):
        assert said in title
    outlines = "(e) => { const s = getComputedStyle(e); return [s.borderRadius, s.borderStyle, s.color].join() }"
    looks = [chips.nth(i).evaluate(outlines) for i in (0, 1, 4, 5, 6)]
    assert len(set(looks)) == 5
    boxes = [chips.nth(i).bounding_box() for i in range(4)]
    gaps = [b["x"] - a["x"] - a["width"] for a, b in pairwise(boxes)]
    assert gaps[1] <= 0 < min(gaps[0], gaps[2]), "the bytes of one character stand together"


def test_a_passive_strip_reports_nothing(open_page: Opener) -> None:
    page = open_page(component_page("strip", strip_data(passive=True, prompt=24)))
    page.locator(".iv-chip").nth(4).click()
    assert page.evaluate("said") == []
    assert page.locator("button").count() == 0


@pytest.mark.parametrize("kind", ["shares", "pattern"])
def test_charts_open_from_a_file_too(open_page: Opener, kind: str) -> None:
    from tests.figures.test_export import records

    page = open_page(records()[kind])
    page.wait_for_selector(".js-plotly-plot .plot-container", timeout=60_000)
