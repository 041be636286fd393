"""What is taken away from the page, opened again: pictures, the page that works offline, tables."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser
Visits = Callable[..., Visit]

INSIDE = """() => {
  const out = [];
  for (const group of document.querySelectorAll("g")) {
    const room = group.querySelector("rect");
    for (const text of group.querySelectorAll("text"))
      if (room && text.getBBox().width > room.getBBox().width + 1) out.push(text.textContent);
  }
  return out;
}"""


def taken(seen: Visit, button: Any, place: Path) -> Path:
    with seen.page.expect_download() as waiting:
        button.click()
    path = place / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_pictures_open_elsewhere(visit: Visits, chromium: Any, tmp_path: Path) -> None:
    seen = visit().ready()
    seen.page.get_by_role("button", name="Export", exact=True).click()
    svg = taken(seen, seen.page.get_by_role("button", name="SVG", exact=True), tmp_path)
    png = taken(seen, seen.page.get_by_role("button", name="PNG", exact=True), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    context = chromium.new_context(offline=True)
    try:
        page = context.new_page()
        page.goto(svg.as_uri())
        rows, positions = (int(n) for n in re.findall(r"\d+", seen.page.locator(".iv-note").inner_text()))
        assert page.locator("g").count() == rows * positions
        for family in ("monospace", "serif"):
            page.evaluate("(f) => document.documentElement.setAttribute('font-family', f)", family)
            assert page.evaluate(INSIDE) == [], "texts keep their width in another font"
        page.goto(png.as_uri())
        assert page.locator("img").evaluate("(e) => [e.naturalWidth > 500, e.naturalHeight > 300]") == [True, True]
    finally:
        context.close()


def test_the_map_of_heads_is_saved_from_the_menu_of_the_page(visit: Visits, tmp_path: Path) -> None:
    seen = visit(path="flow")
    seen.page.wait_for_selector("rect.iv-node")
    seen.idle()
    seen.page.locator(".st-key-flow_tab button", has_text="Attribution").click()
    seen.page.wait_for_selector(".iv-head")
    seen.idle()
    expect(seen.page.locator(".iv-heads .iv-export")).to_have_count(0)
    seen.page.get_by_role("button", name="Export", exact=True).click()
    svg = taken(seen, seen.page.get_by_role("button", name="SVG", exact=True), tmp_path)
    assert svg.name == "heads.svg"
    assert svg.read_text("utf-8").count("iv-head") == 6 * 5
    assert seen.said == []


def test_files_of_the_export_menu_open_elsewhere(visit: Visits, chromium: Any, tmp_path: Path) -> None:
    seen = visit().ready()
    cell = seen.cell(4, 8).get_attribute("aria-label")
    seen.page.get_by_role("button", name="Export", exact=True).click()
    files = {
        kind: taken(seen, seen.page.locator(f".st-key-export_heatmap_{kind} button").first, tmp_path)
        for kind in ("html", "csv", "json")
    }
    assert json.loads(files["json"].read_text("utf-8"))
    lines = list(csv.DictReader(files["csv"].open(encoding="utf-8-sig")))
    assert {(line["row"], line["position"]) for line in lines} >= {("4", "8")}
    context = chromium.new_context(offline=True)
    try:
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(files["html"].as_uri())
        expect(page.locator(f'[role=gridcell][aria-label="{cell}"]')).to_be_visible()
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    finally:
        context.close()
