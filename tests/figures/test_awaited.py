"""A grid whose columns come one after the other: what it is given, and what it does with it in Chromium."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.figures.web import component_source, grid_payload

TEXT = "Q: What is the capital of Italy? A:"
PAGE = (
    """<!doctype html><meta charset="utf-8"><style>%s</style><body style="width:420px"><div id="here"></div></body>"""
)
MOUNT = """async ([source, packed]) => {
  window.mount ??= (await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })))).default;
  window.asked ??= [];
  const data = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const setTriggerValue = (name, value) => window.asked.push([name, value]);
  window.mount({ data, parentElement: document.getElementById("here"), setStateValue() {}, setTriggerValue });
}"""
GRID = "document.querySelector('.iv-grid').intravisto"


@pytest.fixture(scope="module")
def trace() -> Iterator[iv.Trace]:
    engine = iv.open_model("demo")
    yield engine.trace(TEXT, max_new_tokens=10)
    engine.close()


def header(payload: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + length])


@pytest.mark.parametrize(
    ("options", "colour"),
    [
        ({}, "p_max"),
        ({"component": "mlp"}, "logit"),
        ({"lens": "max"}, "p_max"),
        ({"reading": "iterative"}, "p_max"),
        ({"watch": [" Rome"]}, "rank"),
    ],
)
def test_columns_that_are_there_stay_where_they_are(trace: iv.Trace, options: dict[str, Any], colour: str) -> None:
    tokens, some = trace.tokens, [3, 4, 9]
    whole, part = trace.heatmap(**options), trace.heatmap(positions=some, **options)
    full = header(grid_payload(whole, colour))
    given = header(grid_payload(part, colour, columns=tokens))
    assert given["awaited"] == [p for p in range(len(tokens)) if p not in some]
    assert full["awaited"] == []
    assert [c["reads"] for c in given["columns"]] == [c["reads"] for c in full["columns"]]
    assert [given["columns"][p] for p in some] == [full["columns"][p] for p in some]
    assert {given["columns"][p]["says"] for p in given["awaited"]} == {""}
    assert given["note"] == full["note"], "it says how large the picture will be"
    whole_again = header(grid_payload(whole, colour, columns=tokens))
    assert whole_again["awaited"] == []


@pytest.mark.browser
def test_a_grid_asks_for_what_is_looked_at_and_stays_where_it_is(chromium: Any, trace: iv.Trace) -> None:
    source, css = component_source("grid")
    part = grid_payload(trace.heatmap(positions=[3, 4, 5]), columns=trace.tokens, rev="x")
    more = grid_payload(trace.heatmap(positions=[3, 4, 5, 9]), columns=trace.tokens, rev="x")
    whole = grid_payload(trace.heatmap(), columns=trace.tokens, rev="x")
    page = chromium.new_page()
    try:
        page.set_content(PAGE % css)

        def give(payload: bytes) -> None:
            page.evaluate(MOUNT, [source, b64encode(payload).decode()])

        give(part)
        asked = page.evaluate("window.asked")
        assert [name for name, _ in asked] == ["more"]
        assert asked[0][1]["first"] == 0
        page.wait_for_selector(".iv-awaited")
        assert "3 of" in page.locator(".iv-progress").inner_text()
        label = page.locator(".iv-awaited").first.get_attribute("aria-label")
        assert label.endswith("not decoded yet")
        page.evaluate(f"{GRID}.scroller.scrollTo(300, 0)")
        page.wait_for_function(f"{GRID}.scroller.scrollLeft > 200")
        before = page.evaluate(f"{GRID}.scroller.scrollLeft")
        page.wait_for_function("window.asked.length > 1")
        sight = page.evaluate("window.asked.at(-1)[1]")
        give(more)
        assert page.evaluate(f"{GRID}.scroller.scrollLeft") == before, "what is looked at stays in sight"
        n_seen = asked[0][1]["last"] - asked[0][1]["first"] + 1
        assert sight["first"] > 0
        assert sight["last"] - sight["first"] + 1 > n_seen, "scrolled to the right, more is asked for at the right"
        page.evaluate(f"{GRID}.save('svg')")
        assert "SVG is saved when all are there" in page.locator(".iv-foot").inner_text()
        with page.expect_download() as waiting:
            give(whole)
        assert waiting.value.suggested_filename.endswith(".svg")
        assert page.locator(".iv-awaited").count() == 0
        assert page.locator(".iv-progress").count() == 0
        n_asked = len(page.evaluate("window.asked"))
        page.wait_for_timeout(100)
        assert len(page.evaluate("window.asked")) == n_asked, "nothing is asked for any more"
    finally:
        page.close()


def test_a_padded_grid_has_no_numbers_where_it_waits(trace: iv.Trace) -> None:
    from intravisto_core.figures.web.awaited import lay_out_columns

    grid = lay_out_columns(trace.heatmap(positions=[3], watch=[" Rome"]), trace.tokens)
    assert grid.positions.tolist() == list(range(len(trace.tokens)))
    missing = [p for p in range(len(trace.tokens)) if p != 3]
    assert np.isnan(grid.p_max[:, missing]).all()
    assert (grid.token_ids[:, missing] == -1).all()
    assert (grid.watch[0].rank[:, missing] == 0).all()
    np.testing.assert_array_equal(grid.p_max[:, 3], trace.heatmap(positions=[3]).p_max[:, 0])
