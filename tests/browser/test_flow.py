"""The flow page as a user has it: click nodes and links, go to the heatmap and back, look at the other views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from intravisto_core.sites import ShareMeasure
from intravisto_ui.flow import options as flow_options
from intravisto_ui.parts.flow_start import FlowStart
from tests.browser.conftest import NARROW, Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]


def open_flow(visit: Visits, **how: Any) -> Visit:
    """The flow page with its first picture."""
    seen = visit(path="flow", **how)
    seen.page.wait_for_selector("rect.iv-node")
    return seen.idle()


def part(seen: Visit, id: str) -> Any:
    return seen.page.locator(f'.iv-stage [data-part="{id}"]').first


def heaviest(seen: Visit, kind: str) -> str:
    """Id of the heaviest link into an attention node, or of another kind."""
    option = seen.page.locator(f'path.iv-link[aria-label^="{kind} link from block output"]').first
    return option.get_attribute("data-part")


def click_link(seen: Visit, id: str) -> None:
    """Click the middle of a stroke."""
    at = part(seen, id).evaluate(
        """(path) => {
            const at = path.getPointAtLength(path.getTotalLength() / 2);
            const svg = path.ownerSVGElement.getBoundingClientRect();
            return [svg.x + at.x, svg.y + at.y];
        }"""
    )
    seen.page.mouse.click(*at)


def test_a_click_on_a_node_opens_it_and_sends_no_picture(visit: Visits) -> None:
    seen = open_flow(visit)
    expect(seen.title()).to_have_text("final norm · position 11")
    # a new server's first picture is drawn once more when the model is there: a panel of it tells that
    part(seen, "block.5.11").click()
    expect(seen.title()).to_have_text("layer 4 · position 11")
    seen.idle()
    svg = seen.page.locator(".iv-stage svg")
    svg.evaluate("(e) => { e.mine = true; }")
    part(seen, "block.4.11").click()
    expect(seen.title()).to_have_text("layer 3 · position 11")
    expect(seen.page.locator(".st-key-detail .under")).to_contain_text("of the mass")
    expect(seen.page.locator(".headline .where")).to_contain_text("layer 3 · position 11")
    expect(seen.page.locator(".st-key-flow_node_links .iv-go").first).to_be_visible()
    seen.idle()
    assert svg.evaluate("(e) => e.mine")
    assert not seen.said
    assert not seen.outside


def test_a_click_on_a_link_opens_its_heads_and_leads_on(visit: Visits) -> None:
    seen = open_flow(visit)
    id = heaviest(seen, "attention")
    click_link(seen, id)
    expect(seen.title()).to_have_text("attention link")
    expect(seen.page.locator(".st-key-flow_heads .iv-lines tbody tr")).to_have_count(4)
    source = id.split(">")[0]
    seen.page.locator(".st-key-flow_link_ends .iv-go").first.click()
    row, position = (int(n) for n in source.split(".")[1:])
    expect(seen.title()).to_have_text(f"{seen.row_name(row)} · position {position}")
    expect(part(seen, source)).to_have_attribute("aria-selected", "true")


def test_the_selection_goes_to_the_heatmap_and_back(visit: Visits) -> None:
    seen = open_flow(visit)
    part(seen, "block.4.11").click()
    expect(seen.title()).to_have_text("layer 3 · position 11")
    seen.page.get_by_role("link", name="Heatmap", exact=True).click()
    expect(seen.page.locator(".iv-mark.iv-selected")).to_have_count(1)
    expect(seen.title()).to_have_text("layer 3 · position 11")
    seen.cell(5, 8).click()
    expect(seen.title()).to_have_text("layer 4 · position 8")
    seen.page.get_by_role("link", name="Flow", exact=True).click()
    expect(seen.page.locator(".iv-stage [aria-selected=true]")).to_have_attribute("data-part", "block.5.8")
    expect(seen.title()).to_have_text("layer 4 · position 8")
    seen.idle()
    assert seen.page.locator(".iv-rowname").first.inner_text() == "layer 4"


def test_keys_and_hover(visit: Visits) -> None:
    seen = open_flow(visit)
    part(seen, "block.6.11").click()
    expect(seen.title()).to_have_text("layer 5 · position 11")
    seen.page.keyboard.press("ArrowDown")
    expect(seen.page.locator(".st-key-detail .under")).to_contain_text("MLP")
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator(".iv-hover")).to_contain_text("of the mass")
    seen.page.keyboard.press("Escape")
    expect(seen.title()).to_have_text("Nothing selected")


def test_disagreement_is_marked_and_listed(visit: Visits) -> None:
    seen = open_flow(visit)
    seen.page.locator(".st-key-flow_more button").first.click()
    seen.page.locator(".st-key-flow_other [role=combobox]").click()
    seen.page.get_by_role("option", name="compare with projection").click()
    expect(seen.page.locator("circle.iv-marked").first).to_be_attached()
    lines = seen.page.locator(".st-key-flow_disagreement .iv-go")
    expect(lines.first).to_contain_text("1. ")
    lines.first.click()
    expect(seen.page.locator(".st-key-flow_disagreement tr.iv-on")).to_have_count(1)
    assert not seen.said


@pytest.mark.parametrize("dark", [False, True])
def test_the_other_views(visit: Visits, dark: bool) -> None:
    seen = open_flow(visit, dark=dark)
    ink = "rgb(227, 232, 239)" if dark else "rgb(23, 32, 46)"
    expect(part(seen, "block.6.11")).to_have_attribute("fill", ink)
    seen.page.get_by_role("radio", name="Threshold graph").click()
    dot = seen.page.locator("circle.iv-node[data-part='block.6.11']")
    expect(dot).to_have_attribute("fill", ink)
    dot.click()
    tables = seen.page.locator(".st-key-flow_graph_parts .iv-lines")
    expect(tables).to_have_count(2)
    expect(tables.first).to_be_visible()
    seen.page.get_by_role("radio", name="Attribution").click()
    seen.page.get_by_role("radio", name="layers", exact=True).click()
    bars = seen.page.locator(".st-key-flow_bars tbody tr")
    expect(bars.first).to_be_visible()
    folded = bars.count()
    seen.page.locator(".st-key-flow_bars .iv-go").first.click()
    expect(seen.page.locator(".st-key-flow_bars tr.iv-level1").first).to_be_visible()
    assert bars.count() > folded
    seen.page.get_by_role("radio", name="Route").click()
    said = seen.page.locator(".iv-said").first
    said.click()
    expect(seen.page.locator(".headline .where")).to_contain_text("why")
    assert not seen.said


def test_narrow_windows_have_no_sideways_scroll(visit: Visits) -> None:
    seen = open_flow(visit, size=NARROW)
    for name in ("Threshold graph", "Attribution", "Route"):
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        seen.page.get_by_role("radio", name=name).click()
        seen.idle()
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not seen.said


SELECTS = ("flow_start", "flow_measure", "flow_links")
MORE = ("flow_division", "flow_other", "flow_reading", "flow_labels", "flow_canvas", "flow_text")


def choose_each(seen: Visit, key: str) -> None:
    """Every option of a select box once, the last one first; then what stood there."""
    field, options = seen.page.locator(f".st-key-{key} input"), seen.page.locator("[role=option]:not([data-part])")
    first = field.input_value()
    field.click()
    expect(options.first).to_be_visible()
    names = options.all_inner_texts()
    seen.page.keyboard.press("Escape")
    for name in [*reversed([n for n in names if n != first]), first]:
        field.click()
        options.get_by_text(name, exact=True).click()
        expect(field).to_have_value(name)
        seen.idle()
        expect(seen.page.locator("rect.iv-node").first).to_be_attached()
        assert seen.page.locator(".st-key-problem").count() == 0, (key, name)


def test_every_option_of_the_flow_is_drawn_once(visit: Visits) -> None:
    seen = open_flow(visit)
    for key in SELECTS:
        choose_each(seen, key)
    seen.page.locator(".st-key-flow_more button").first.click()
    for key in MORE:
        choose_each(seen, key)
    seen.page.locator(".st-key-flow_bright label").first.click()
    seen.idle()
    wide = seen.page.locator(".iv-stage svg").get_attribute("width")
    seen.page.locator(".st-key-flow_scale [role=slider], .st-key-flow_scale input[type=range]").first.focus()
    seen.page.keyboard.press("ArrowRight")
    expect(seen.page.locator(".iv-stage svg")).not_to_have_attribute("width", wide)
    for key, value in (("flow_down", "3"), ("flow_min_mass", "2")):
        seen.page.locator(f".st-key-{key} input").fill(value)
        seen.page.keyboard.press("Tab")
        seen.idle()
    expect(seen.page.locator(".iv-rowname")).to_have_count(4)
    assert not seen.said


CUT = """(field) => {
    const style = getComputedStyle(field);
    const context = document.createElement("canvas").getContext("2d");
    context.font = `${style.fontSize} ${style.fontFamily}`;
    const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return context.measureText(field.value).width > room;
}"""


def test_narrow_windows_cut_no_option_and_keep_them_in_one_line(visit: Visits) -> None:
    seen = open_flow(visit, size=NARROW)
    for key, name in (
        ("flow_start", FlowStart.ALL_GENERATED),
        ("flow_measure", ShareMeasure.L1.label),
        ("flow_links", flow_options.LEAST),
    ):
        field = seen.page.locator(f".st-key-{key} input")
        assert not field.evaluate(CUT)
        field.click()
        seen.page.locator("[role=option]:not([data-part])").get_by_text(name, exact=True).click()
        expect(field).to_have_value(name)
        assert not field.evaluate(CUT), name
    bottoms = (
        seen.idle()
        .page.locator(".st-key-options > *")
        .evaluate_all(
            "(parts) => parts.map((part) => part.getBoundingClientRect())"
            ".filter(({ height }) => height).map(({ bottom }) => Math.round(bottom))"
        )
    )
    assert len(bottoms) > 3
    assert max(bottoms) - min(bottoms) <= 2


def test_choices_survive_a_reload(visit: Visits) -> None:
    seen = open_flow(visit)
    seen.page.locator(".st-key-flow_links [role=combobox]").click()
    seen.page.get_by_role("option", name="none", exact=True).click()
    expect(seen.page.locator('path.iv-link[aria-label^="attention link from block output"]')).to_have_count(0)
    seen.idle()
    seen.page.reload()
    seen.page.wait_for_selector("rect.iv-node")
    expect(seen.page.locator('path.iv-link[aria-label^="attention link from block output"]')).to_have_count(0)


def test_the_number_of_links_keeps_its_help_in_a_narrow_window(visit: Visits) -> None:
    seen = visit(NARROW, path="flow")
    seen.page.wait_for_selector("rect.iv-node")
    field = seen.idle().page.locator(".st-key-flow_top_k")
    expect(field.get_by_role("button", name="Help for k")).to_be_visible()
