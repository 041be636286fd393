"""The flow and the contribution graph as standalone pages in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from intravisto_core.errors import RequestError
from intravisto_core.figures import numbers
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import CANVASES, LABELS, FlowStyle, LinkMark, flow_payload
from tests.figures import made, made_flow
from tests.figures.test_page import wait_until

Opener = Callable[..., Any]
FLOW = "document.querySelector('.iv-flow').intravisto"
GRAPH = "document.querySelector('.iv-graph').intravisto"
SVG = "{http://www.w3.org/2000/svg}"


def part(page: Any, id: str) -> Any:
    """What is drawn for a node or a link."""
    return page.locator(f'.iv-stage [data-part="{id}"]').first


def selection(page: Any) -> list[Any]:
    return page.evaluate("(({row, position, part}) => [row, position, part])(window.__intravisto.selection ?? {})")


def heaviest(page: Any, kind: str) -> str:
    """Id of the heaviest link of a kind."""
    return page.evaluate(f"{FLOW}.data.links.find((link) => link.kind === '{kind}').id")


@pytest.mark.browser
def test_every_node_and_link_is_drawn_where_it_belongs(open_page: Opener) -> None:
    flow = made_flow.flow()
    page = open_page(flow)
    assert page.locator("rect.iv-node").count() == len(flow.node_mass)
    assert page.locator("path.iv-link").count() == len(flow.link_mass)
    for id, mass in zip(flow.node_id, flow.node_mass, strict=True):
        width = float(part(page, id).get_attribute("width"))
        unit = page.evaluate(f"{FLOW}.layout.unit")
        assert width == pytest.approx(max(1.5, mass * unit), abs=0.11)
    above, below = (part(page, f"block.{row}.6").bounding_box() for row in (4, 3))
    assert above["y"] < below["y"]
    left, right = (part(page, f"block.0.{p}").bounding_box() for p in (1, 5))
    assert left["x"] < right["x"]
    assert page.locator(".iv-tick span:last-child").all_text_contents()[1:3] == ["<br>", "%{y}"]
    assert page.locator(".iv-flow br, .iv-flow s").count() == 0


@pytest.mark.browser
def test_bands_of_a_node_lie_side_by_side_within_it(open_page: Opener) -> None:
    page = open_page(made_flow.flow())
    spilled_at_first = spilled(page)
    page.set_viewport_size({"width": 700, "height": 560})
    wait_until(page, f"() => {FLOW}.size.width < 700")
    assert max(spilled_at_first + spilled(page)) < 0.01


def spilled(page: Any) -> list[float]:
    """How far the links at each side of each node reach beyond it, px."""
    found: list[float] = page.evaluate(
        f"""{FLOW}.data.nodes.flatMap(({{ at, below, above }}) =>
            [[below, "upper"], [above, "lower"]].map(([links, end]) => {{
                let x = at.x;
                for (const link of links) {{
                    if (Math.abs(link.at[end].x - x) > 0.01) return 1e9;
                    x += link.at.width;
                }}
                return x - at.x - at.width;
            }}))"""
    )
    return found


@pytest.mark.browser
def test_clicks_on_nodes_and_links_select_them(open_page: Opener) -> None:
    page = open_page(made_flow.flow())
    part(page, "block.3.6").click()
    assert selection(page) == [3, 6, "block.3.6"]
    assert page.locator(".iv-rowname.iv-on").text_content() == "layer 2"
    assert page.locator(".iv-tick.iv-on i").text_content() == "6"
    for kind in ("residual", "mlp", "attention", "norm"):
        id = heaviest(page, kind)
        box = page.evaluate(
            f"""(id) => {{
                const path = {FLOW}.drawn(id);
                const along = path.getAttribute("fill") === "none" ? 0.5 : 0.2;
                const at = path.getPointAtLength(path.getTotalLength() * along);
                const svg = path.ownerSVGElement.getBoundingClientRect();
                return [svg.x + at.x, svg.y + at.y];
            }}""",
            id,
        )
        page.mouse.click(*box)
        assert selection(page)[2].split(">")[1].split(".")[0] == id.split(">")[1].split(".")[0], kind
    page.locator(".iv-tick[data-position='2']").click()
    assert selection(page)[1] == 2
    page.locator(".iv-rowname[data-row='1']").click()
    assert selection(page)[0] == 1


@pytest.mark.browser
def test_keys_walk_over_nodes_and_their_links(open_page: Opener) -> None:
    page = open_page(made_flow.flow())
    part(page, "block.5.6").click()
    walked = []
    for _ in range(4):
        page.keyboard.press("ArrowDown")
        walked.append(selection(page)[2])
    assert walked == ["block.4.6", "mlp.4.6", "mid.4.6", "attention.4.6"]
    page.keyboard.press("ArrowLeft")
    assert selection(page)[1] == 5
    page.keyboard.press("ArrowRight")
    assert selection(page)[1] == 6
    part(page, "block.3.6").click()
    page.keyboard.press("]")
    first = selection(page)[2]
    page.keyboard.press("]")
    assert ">" in first
    assert selection(page)[2] != first
    described = page.locator("[role=listbox]").get_attribute("aria-activedescendant")
    assert "link from" in page.locator(f'[id="{described}"]').get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert page.locator(".iv-hover").is_visible()
    page.keyboard.press("Escape")
    assert selection(page) == [None, None, ""]
    assert not page.locator(".iv-hover").is_visible()


@pytest.mark.browser
def test_hover_tells_the_numbers(open_page: Opener) -> None:
    flow = made_flow.flow()
    page = open_page(flow)
    part(page, "block.3.6").hover()
    i = flow.node_id.index("block.3.6")
    text = page.locator(".iv-hover").text_content()
    assert f"{numbers.share(float(flow.node_mass[i]))} of the mass" in text
    names = page.locator(".iv-hover .iv-name").all_text_contents()
    ids = [*flow.reading_ids[flow.node_reading[i]], *flow.reading_ids[flow.node_difference[i]]]
    assert names == [printable(made.shown(int(t))) for t in ids]
    page.evaluate(f"{FLOW}.choose({FLOW}.data.links[0], 'click'); {FLOW}.open()")
    text = page.locator(".iv-hover").text_content()
    assert f"{numbers.share(float(flow.link_mass[0]))} of the mass" in text
    assert f"KL of upper from lower end {numbers.nats(float(flow.link_kl[0]))}" in text


@pytest.mark.browser
def test_a_cell_chosen_elsewhere_is_shown_here(open_page: Opener) -> None:
    page = open_page(made_flow.flow())
    detail = "{{ row: 2, position: 6, rev: '{}' }}"
    say = f"window.__intravisto.dispatchEvent(new CustomEvent('select', {{{{ detail: {detail} }}}}))"
    page.evaluate(say.format("other"))
    assert page.locator(".iv-rowname.iv-on").count() == 0
    page.evaluate(say.format("trace-1"))
    assert page.locator(".iv-rowname.iv-on").text_content() == "layer 1"
    page.locator(".iv-chip[data-position='3']").click()
    assert selection(page)[:2] == [5, 3]


@pytest.mark.browser
@pytest.mark.parametrize("block", ["serial", "parallel"])
def test_negative_and_hidden_mass_is_told_apart(open_page: Opener, block: str) -> None:
    flow = made_flow.flow(block=block, signed=True, hidden=True)
    page = open_page(flow, labels="all")
    assert "negative" in page.locator(".iv-foot").text_content()
    down = [i for i, m in enumerate(flow.link_mass) if m < 0]
    drawn = page.locator("path.iv-link[stroke-dasharray], path.iv-link[fill^='url(#hatch']")
    assert drawn.count() == len(down) > 0
    # what is set aside has no node, only a stub below the state that it is taken from
    assert page.locator("rect.iv-node[data-part^='hidden.']").count() == 0
    stubs = page.locator("path.iv-link[data-part^='hidden.']")
    assert stubs.count() == int((flow.node_kind[flow.link_source] == "hidden").sum()) > 0
    assert stubs.first.get_attribute("aria-label").startswith("attention sinks, set aside link from")
    assert "set aside" in page.locator(".iv-foot").text_content()


@pytest.mark.browser
def test_labels_canvas_and_scale(open_page: Opener) -> None:
    flow = made_flow.flow(nasty=False)
    counts = {}
    for labels in LABELS:
        page = open_page(flow, labels=labels)
        counts[labels] = page.locator("text.iv-text").count()
        if labels == "positions":
            texts = page.locator("text.iv-text").all_text_contents()
            assert all(re.match(r"\d+ ", text) for text in texts)
    assert counts["none"] == 0 < counts["blocks"] < counts["all"]
    sizes = {}
    for canvas in CANVASES:
        page = open_page(made_flow.flow(20, 40, 38, (38,), nasty=False), canvas=canvas)
        sizes[canvas] = page.evaluate(f"[{FLOW}.layout.width, {FLOW}.layout.height]")
    assert sizes["wide"][0] > sizes["fixed"][0] <= 1280
    assert sizes["tall"][1] > sizes["fixed"][1]
    assert sizes["both"] == [sizes["wide"][0], sizes["tall"][1]]
    small, large = (open_page(flow, scale=s).evaluate(f"{FLOW}.layout.width") for s in (0.5, 1.5))
    assert large > 2 * small


@pytest.mark.browser
def test_disagreements_are_marked(open_page: Opener) -> None:
    flow = made_flow.flow()
    ids = flow.node_id
    ends = [(ids[flow.link_source[i]], ids[flow.link_target[i]]) for i in (3, 8)]
    page = open_page(flow, marks=[LinkMark(s, t, n + 1) for n, (s, t) in enumerate(ends)])
    assert page.locator("circle.iv-marked").count() == 2
    assert "listed below" in page.locator(".iv-foot").text_content()


@pytest.mark.browser
def test_eight_hundred_nodes_and_two_thousand_links(open_page: Opener) -> None:
    flow = made_flow.flow(7, 34, 30, (32,), nasty=False)
    assert (len(flow.node_mass), len(flow.link_mass)) == (800, 2000)
    assert len(flow_payload(flow)) < 1_000_000
    page = open_page(flow)
    assert page.locator("path.iv-link").count() == len(flow.link_mass)
    note = f"{len(flow.node_mass):,} of {flow.n_nodes:,} nodes · {len(flow.link_mass):,} of {flow.n_links:,} links"
    assert note in page.locator(".iv-foot").text_content()
    page.keyboard.press("Tab")
    part(page, "block.7.32").click()
    assert selection(page)[2] == "block.7.32"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_colours_follow_the_theme(open_page: Opener) -> None:
    page = open_page(made_flow.flow())
    for scheme, ink in (("light", "rgb(23, 32, 46)"), ("dark", "rgb(227, 232, 239)"), ("light", "rgb(23, 32, 46)")):
        page.emulate_media(color_scheme=scheme)
        wait_until(page, f"(ink) => {FLOW}.drawn('block.3.6').getAttribute('fill') === ink", ink)


@pytest.mark.browser
def test_the_picture_as_a_file(open_page: Opener) -> None:
    flow = made_flow.flow(signed=True, hidden=True)
    page = open_page(flow)
    tree = ElementTree.fromstring(page.evaluate(f"{FLOW}.toSvg()"))
    texts = ["".join(t.itertext()) for t in tree.iter(f"{SVG}text")]
    assert {"final norm", "1 <br>", "embeddings"} <= set(texts)
    assert any("not causes" in t for t in texts)
    plain = re.compile(r"rgb\(\d+, \d+, \d+\)|none|url\(#[\w-]+\)")
    paints = {v for e in tree.iter() for k, v in e.attrib.items() if k in ("fill", "stroke")}
    assert all(plain.fullmatch(v) for v in paints), paints
    for format in ("svg", "png"):
        with page.expect_download() as waiting:
            page.locator(f"[data-format={format}]").click()
        assert waiting.value.suggested_filename == f"flow.{format}"
        assert waiting.value.path().stat().st_size > 10_000


@pytest.mark.browser
def test_the_graph_is_legible_and_clicked(open_page: Opener) -> None:
    graph = made_flow.graph(32, 30)
    page = open_page(graph)
    assert page.locator("circle.iv-node").count() == len(graph.node_row)
    assert page.locator("path.iv-link").count() == len(graph.edge_share)
    assert page.evaluate(f"{GRAPH}.layout.pitch") >= 10
    rows_out_of_sight = page.locator(".iv-scroller").evaluate("(e) => e.scrollHeight - e.clientHeight")
    assert rows_out_of_sight <= 1, "33 rows are in sight at once"
    assert page.evaluate(f"{GRAPH}.radius") >= 2.6
    first = page.evaluate(f"{GRAPH}.data.nodes[0].id")
    part(page, first).click()
    assert selection(page)[2] == first
    page.keyboard.press("]")
    assert selection(page)[2].count(">") == 2
    page.keyboard.press("Enter")
    assert "of it is" in page.locator(".iv-hover").text_content()
    ElementTree.fromstring(page.evaluate(f"{GRAPH}.toSvg()"))


def test_the_payload_holds_no_more_than_is_drawn() -> None:
    flow = made_flow.flow()
    data = json.loads(flow_payload(flow, rev="a"))
    assert data["rev"] == "a"
    assert len(data["node"]["mass"]) == len(flow.node_mass)
    assert [c["position"] for c in data["columns"]] == list(range(7))
    assert "\x00" not in json.dumps(data, ensure_ascii=False)
    again = json.loads(flow_payload(flow, FlowStyle(labels="all"), rev="a"))
    assert data["key"] != again["key"]
    assert data["key"] == json.loads(flow_payload(made_flow.flow(), rev="a"))["key"]
    assert np.isnan(flow.link_kl).sum() == sum(kl is None for kl in data["link"]["kl"])


@pytest.mark.parametrize("wrong", [{"labels": "some"}, {"canvas": "huge"}, {"scale": 9.0}, {"text_size": 0.0}])
def test_a_dress_that_does_not_exist_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        FlowStyle(**wrong)


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_attribution_shows_bars_sums_and_how_it_is_reached(open_page: Opener, dark: bool) -> None:
    found = made_flow.attribution()
    page = open_page(found)
    page.emulate_media(color_scheme="dark" if dark else "light")
    lines = page.locator(".iv-lines tbody tr")
    assert lines.count() == len(found.value) + 1
    numbers_shown = lines.locator(".iv-number").all_text_contents()
    assert numbers_shown == [numbers.change(v) for v in [*found.value.tolist(), found.remainder]]
    sums = page.locator(".iv-sums td").all_text_contents()
    assert sums == [numbers.change(v) for v in (float(found.value.sum()), found.remainder, found.logit, found.capped)]
    assert page.locator(".iv-lines caption").inner_text() == "What each part adds to the lead of <s> over %{y} (logits)"
    x = [float(c.get_attribute("cx")) for c in page.locator("circle.iv-point").all()]
    slope = np.polyfit(found.accumulated, x, 1)
    np.testing.assert_allclose(np.polyval(slope, found.accumulated), x, atol=1e-6)
    y = [float(c.get_attribute("cy")) for c in page.locator("circle.iv-point").all()]
    assert y == sorted(y, reverse=True)
    ink, paper = ("rgb(227, 232, 239)", "rgb(16, 20, 27)") if dark else ("rgb(23, 32, 46)", "rgb(255, 255, 255)")
    assert lines.first.evaluate("(e) => getComputedStyle(e).color") == ink
    assert page.locator("body").evaluate("(e) => getComputedStyle(e).backgroundColor") == paper
    assert page.locator("s").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_heads_are_a_map_with_the_mlps_beside_it(open_page: Opener, dark: bool) -> None:
    found = made_flow.attribution_by_heads()
    page = open_page(found)
    page.emulate_media(color_scheme="dark" if dark else "light")
    squares = page.locator(".iv-head")
    assert squares.count() == 5 * 4
    labels = squares.evaluate_all("(all) => all.map((e) => e.getAttribute('aria-label'))")
    wanted = [
        f"layer {layer} · {name}: {numbers.change(float(value))}"
        for layer, row in enumerate(np.c_[found.head_values, found.mlp_values])
        for name, value in zip(("head 0", "head 1", "head 2", "MLP"), row, strict=True)
    ]
    assert labels == wanted
    tops = squares.evaluate_all("(all) => all.map((e) => Number(e.getAttribute('y')))")
    assert tops[0] > tops[-1], "the last layer is on top"
    best = int(np.nanargmax(found.head_values))
    layer, head = best // 3, best % 3
    page.locator(f'[aria-label^="layer {layer} · head {head}:"]').click()
    chosen = page.evaluate("(({row, part, head}) => [row, part, head])(window.__intravisto.selection)")
    assert chosen == [layer + 1, f"attention.{layer + 1}.4", head]
    page.locator(".iv-heads .iv-scroller").press("ArrowRight")
    assert page.evaluate("window.__intravisto.selection.head") == (head + 1 if head < 2 else None)
    svg = page.evaluate("document.querySelector('.iv-heads').intravisto.toSvg()")
    root = ElementTree.fromstring(svg)
    assert len(root.findall(f".//{SVG}rect[@class='iv-head']")) == 20
    assert "<s>" in "".join(root.itertext())
    assert page.locator("s").count() == 0


@pytest.mark.browser
def test_the_route_is_a_timeline_that_the_strip_goes_with(open_page: Opener) -> None:
    found = made_flow.route()
    page = open_page(found)
    lines = page.locator(".iv-timeline tbody tr[data-position]")
    assert lines.count() == len(found.positions)
    assert page.locator(".iv-timeline tbody tr.iv-common").count() == 1
    for g, position in enumerate(found.positions.tolist()):
        assert lines.nth(g).locator(".iv-squares i").count() == position
    best = int(np.argmax(found.sources[1]))
    chip = lines.nth(1).locator("td").nth(2).locator(".iv-bit").first
    assert chip.locator("small").inner_text() == str(best)
    chip.click()
    assert selection(page)[:2] == [0, best]
    lines.nth(2).locator(".iv-said").click()
    assert "iv-on" in lines.nth(2).get_attribute("class")
    assert "10.0\u00a0% on average that ends before" in page.locator("footer").inner_text()
    assert page.locator("br, s").count() == 0


@pytest.mark.browser
def test_a_route_over_a_long_text_stays_in_sight(open_page: Opener) -> None:
    found = made_flow.route(length=300, prompt_length=297)
    page = open_page(found)
    squares = page.locator(".iv-timeline tbody tr[data-position]").first.locator(".iv-squares i")
    assert squares.count() == 60
    best = int(np.argmax(found.sources[0]))
    first = best - best % 5
    square = squares.nth(best // 5)
    assert square.get_attribute("title").startswith(f"the heaviest of positions {first} to {min(first + 4, 296)}: ")
    square.click()
    assert selection(page)[:2] == [0, best]
    assert page.locator(".iv-route").evaluate("(e) => e.scrollWidth <= e.clientWidth")


@pytest.mark.browser
def test_row_names_at_the_ends_meet_no_other(open_page: Opener) -> None:
    page = open_page(made_flow.flow(31, 6, 4, (3,), nasty=False))
    page.set_viewport_size({"width": 1280, "height": 640})
    wait_until(page, f"() => {FLOW}.layout.pitch < 15")
    tops = [
        float(top)
        for top in page.locator(".iv-rowname").evaluate_all("(all) => all.map((e) => parseFloat(e.style.top))")
    ]
    assert min(np.diff(tops)) >= 15
    assert page.locator(".iv-rowname").all_text_contents()[:: len(tops) - 1] == ["final norm", "embeddings"]
    tree = ElementTree.fromstring(page.evaluate(f"{FLOW}.toSvg()"))
    names = [t for t in tree.iter(f"{SVG}text") if re.match("layer |final|embed", "".join(t.itertext()))]
    assert len(names) == len(tops)


@pytest.mark.browser
def test_numbers_of_links_that_lie_together_stand_side_by_side(open_page: Opener) -> None:
    flow = made_flow.flow(31, 6, 4, (3,), nasty=False)
    ids = flow.node_id
    ends = [(ids[flow.link_source[i]], ids[flow.link_target[i]]) for i in range(8)]
    page = open_page(flow, marks=[LinkMark(s, t, n + 1) for n, (s, t) in enumerate(ends)])
    tabs = page.locator("circle.iv-marked").evaluate_all(
        "(all) => all.map((c) => [c.getAttribute('cx'), c.getAttribute('cy')])"
    )
    at = np.array(tabs, float)
    apart = np.linalg.norm(at[:, None] - at[None], axis=-1)[np.triu_indices(8, 1)]
    assert apart.min() >= 14.99


@pytest.mark.browser
def test_columns_that_nothing_is_drawn_in_fold_where_room_is_short(open_page: Opener) -> None:
    flow = made_flow.flow(2, 200, 198, (197,), most_nodes=40, nasty=False)
    used = sorted({int(p) for p in flow.node_position if p >= 0})
    page = open_page(flow)
    columns = page.evaluate(f"[...{FLOW}.layout.columns].map(([p, c]) => [p, c.left, c.width, c.skipped])")
    width = {p: w for p, _, w, _ in columns}
    assert all(width[p] >= 15 for p in used)
    folded = {p: n for p, _, _, n in columns if n}
    assert folded
    for first, n in folded.items():
        assert not set(range(first, first + n)) & set(used)
        assert sum(width[p] for p in range(first, first + n)) == pytest.approx(16)
    assert page.locator(".iv-gap").count() == len(folded)
    assert page.locator(".iv-gap").first.inner_text() == "⋯"
    wide = open_page(flow, canvas="wide")
    assert wide.locator(".iv-gap").count() == 0


@pytest.mark.browser
def test_the_mlp_of_a_parallel_block_is_a_step_of_its_own(open_page: Opener) -> None:
    serial = made_flow.graph(n_layers=4, length=6)
    page = open_page(serial)
    rings = page.locator(".iv-stage circle:not(.iv-node)")
    assert rings.count() == int(serial.node_mlp_over.sum()) > 0
    kind = serial.edge_kind.copy().astype("<U9")
    (same,) = np.nonzero(kind == "residual")
    kind[same[::2]] = "mlp"
    parallel = open_page(replace(serial, block="parallel", edge_kind=kind))
    steps = parallel.locator('path.iv-link[data-part$=">mlp"]')
    assert steps.count() == len(same[::2])
    assert parallel.locator(".iv-stage circle:not(.iv-node)").count() == 0
    assert "MLP" in parallel.locator(".iv-foot").inner_text()
    # beside the straight line of the state, where it can be clicked
    x = [float(v) for v in re.findall(r"[-\d.]+", steps.first.get_attribute("d"))]
    assert abs(x[2] - x[0]) > 8
