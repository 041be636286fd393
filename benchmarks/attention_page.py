"""The attention page in Chromium: bytes, first picture, pointer to painted, change of head, matrix.

python benchmarks/attention_page.py      figures as a table

The picture is a page by itself with made numbers, so that it needs no model: 200 and 2,000 tokens, 32 × 32 heads.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import chromium, machine

from tests.figures.made_attention import large_page, make_packets, make_payload, make_query

LAYERS, HEADS = 32, 32
PER_ROW = 40  # keys of a row that are kept
MOVES = 40
# a move of the pointer to the frame after the one that painted what it changed
MEASURE = """async ([selector, n]) => {
    const root = document.querySelector(selector), box = root.getBoundingClientRect(), took = [];
    for (let i = 0; i < n; i++) {
        const x = box.left + 110 + (i * 37) % (box.width - 140), y = box.top + 30 + ((i * 53) % (box.height - 60));
        const target = document.elementFromPoint(x, y) ?? root;
        const began = performance.now();
        const said = { bubbles: true, composed: true, clientX: x, clientY: y };
        target.dispatchEvent(new MouseEvent("mouseover", said));
        target.dispatchEvent(new MouseEvent("mousemove", said));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        took.push(performance.now() - began);
    }
    return took;
}"""
# when the panel's lines, drawn last, were painted
WATCH = """(function look() {
    if (document.querySelector(".iv-row")) setTimeout(() => (window.firstPicture = performance.now()));
    else requestAnimationFrame(look);
})()"""
FIRST = """async () => {
    while (!window.firstPicture) await new Promise(requestAnimationFrame);
    return window.firstPicture;
}"""
CHANGE = """async (name) => {
    const field = document.querySelector(".iv-jump"), began = performance.now();
    field.value = name;
    field.dispatchEvent(new Event("change"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - began;
}"""
# frames of a scroll from the first row to the last one, in cells of 28 px: how long each takes to be painted
SCROLL = """async (n) => {
    const root = document.querySelector(".iv-matrixscroll"), took = [];
    for (let i = 0; i < n; i++) {
        const began = performance.now();
        root.scrollTop = root.scrollHeight * i / n;
        root.scrollLeft = root.scrollWidth * i / n;
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        took.push(performance.now() - began);
    }
    return took;
}"""
PARTS = {"text": ".iv-tokens", "heads map": ".iv-mapscroll", "matrix": ".iv-matrixscroll"}


def embedded_by_bertviz(length: int) -> int:
    """Bytes of the JSON that bertviz puts into its page: every weight of every head, zeros for later keys."""
    row = json.dumps([0.012345679104328156] * 50 + [0.0] * 50)
    return int(LAYERS * HEADS * length * length * len(row) / 100)


def measure(page: Any, length: int, folder: Path) -> dict[str, float]:
    """Milliseconds, and bytes."""
    file = folder / f"{length}.html"
    file.write_text(large_page(LAYERS, HEADS, length, PER_ROW, ["L3H7"], linked=True), "utf-8")
    rows = len(make_packets(length, PER_ROW, ())[0])
    first = len(make_payload(LAYERS, HEADS, length)) + rows
    query = len(make_query(LAYERS, HEADS, length, length - 1))
    page.add_init_script(WATCH)
    page.goto(file.as_uri())
    found = {"bytes of the first picture": first, "bytes of bertviz's JSON": embedded_by_bertviz(length)}
    found["bytes with a head and a query in all heads"] = first + rows + query
    found["load to the first picture"] = page.evaluate(FIRST)

    def point(name: str, selector: str) -> None:
        took = page.evaluate(MEASURE, [selector, MOVES])
        found[f"pointer to painted, {name}: median"] = float(np.median(took))
        found[f"pointer to painted, {name}: slowest of {MOVES}"] = float(max(took))

    for name, selector in PARTS.items():
        point(name, selector)
    changes = [page.evaluate(CHANGE, name) for name in ("L3H7", "all") * 4]
    found["change of head, rows there"] = float(np.median(changes))
    page.locator(".iv-matrix .iv-segments button", has_text="+").click(click_count=8)
    took = page.evaluate(SCROLL, MOVES)
    found["scroll of the matrix, a frame: median"] = float(np.median(took))
    found[f"scroll of the matrix, a frame: slowest of {MOVES}"] = float(max(took))
    # the query whose weights in all heads are there
    page.locator(f'.iv-token[data-position="{length - 1}"]').dblclick()
    page.locator(".iv-matrix .iv-segments button", has_text="heads × keys").click()
    point("heads × keys", ".iv-matrixscroll")
    return found


def main() -> None:
    """Print the figures of both lengths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[200, 2000], help="lengths of the text")
    lengths = parser.parse_args().tokens
    print(machine())
    with tempfile.TemporaryDirectory() as folder, chromium() as page:
        columns = {length: measure(page, length, Path(folder)) for length in lengths}
    for name in columns[lengths[0]]:
        print(f"{name:52}" + "".join(f"{columns[n][name]:>18,.1f}" for n in columns))


if __name__ == "__main__":
    main()
