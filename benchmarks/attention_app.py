"""The attention page of a real model in the app: rows beside tiles of the matrix, change of head through the server.

python benchmarks/attention_app.py MODEL [--tokens 2000]

The text is the beginning of docs/methods.md. First every head's rows are packed, and held to tiles of its whole matrix:
bytes, and how much of the picture the rows lack. Then the app runs the text, and heads are changed in Chromium.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import chromium, machine, running_app, table

TEXT = Path(__file__).parents[1] / "docs" / "methods.md"
TILE = 128  # cells along a side, a byte each
HIDDEN_BELOW = 0.01  # what the page leaves out of pictures until the reader asks for less
CHANGES = 12
PATIENCE_MS = 300_000
PAINTED = """async (root) => {
    const state = root.intravisto.state;
    while (!state.made || state.made.stale) await new Promise(requestAnimationFrame);
}"""
SHOWN = """async (root, name) => {
    const state = root.intravisto.state, field = root.querySelector(".iv-jump"), began = performance.now();
    field.value = name;
    field.dispatchEvent(new Event("change"));
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    do await frame(); while (state.heads !== name || state.made.stale);
    return performance.now() - began;
}"""


def cut_text(engine: Any, n: int) -> str:
    """The beginning of the text with at most n tokens."""
    text = TEXT.read_text("utf-8")
    low, high = 1, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(engine.tokenize(text[:middle])) <= n else (low, middle)
    return text[:low].rstrip()


def compare_with_tiles(engine: Any, text: str) -> None:
    """Every head's rows beside the tiles of its lower triangle."""
    from intravisto_core.figures.web.attention_payload import LEAST, rows_packet

    trace = engine.trace(text)
    trace.pin()
    length, sizes, lost, painted = len(trace.tokens), [], [], []
    for layer, head in itertools.product(range(engine.model.n_layers), range(engine.model.n_heads)):
        shown = trace.sparse_attention(layer, head, LEAST, mark_sinks=True)
        sizes.append(len(rows_packet("rows", shown)))
        weights = trace.attention(layer, head).weights[0]
        kept = np.zeros_like(weights, bool)
        kept[np.repeat(np.arange(length), np.diff(shown.starts)), shown.keys] = True
        lost.append(float(weights[~kept].sum() / length))
        painted.append(int(((weights >= HIDDEN_BELOW) & ~kept).sum()))
    along = -(-length // TILE)
    tiles = along * (along + 1) // 2 * TILE**2
    rows: list[list[object]] = [
        ["rows of a head, KB: median, largest", f"{np.median(sizes) / 1e3:,.0f}, {max(sizes) / 1e3:,.0f}"],
        ["tiles of a head's whole matrix, KB", f"{tiles / 1e3:,.0f}"],
        ["cells that are drawn and have no entry, all heads", sum(painted)],
        ["share of a row without an entry: median, largest", f"{np.median(lost):.1%}, {max(lost):.1%}"],
    ]
    table(f"{len(sizes)} heads, {length:,} tokens", ["what", ""], rows)
    trace.unpin()


def in_the_app(page: Any, address: str, model: str, layers: int, text: str, heads: list[str]) -> None:
    """Run the text, then change heads; what comes over the socket is counted."""
    page.set_default_timeout(PATIENCE_MS)
    received = [0]
    page.on("websocket", lambda s: s.on("framereceived", lambda data: received.__setitem__(0, received[0] + len(data))))
    calm = '[data-testid="stApp"][data-test-script-state="notRunning"]'
    page.goto(address)
    page.wait_for_selector(".iv-cell")
    field = page.locator(".st-key-model input")
    field.click()
    field.fill(model)
    field.press("Enter")
    page.locator(".badges", has_text=f"{layers} layers").wait_for()
    page.wait_for_selector(calm)
    prompt = page.locator(".st-key-prompt textarea")
    prompt.fill(text)
    prompt.press("Tab")
    page.wait_for_selector(".status.stale")
    page.get_by_role("link", name="Attention", exact=True).click()
    page.wait_for_selector(calm)
    page.locator(".st-key-run button").click()
    page.wait_for_selector(".status.done")
    before, began = received[0], time.perf_counter()
    page.locator(".iv-attention .iv-token").nth(1000).wait_for()
    root = page.locator(".iv-attention")
    root.evaluate(PAINTED)
    first = time.perf_counter() - began
    page.wait_for_selector(calm)
    say("from the run's end to the first picture", f"{first:.2f} s")
    took = [root.evaluate(SHOWN, name) for name in heads]
    say("change of head: median, slowest", f"{np.median(took) / 1e3:.2f}, {max(took) / 1e3:.2f} s")
    again = [root.evaluate(SHOWN, name) for name in heads]
    say("the same heads again: median, slowest", f"{np.median(again) / 1e3:.3f}, {max(again) / 1e3:.3f} s")
    say(f"received since, {len(heads)} heads", f"{(received[0] - before) / 1e6:.1f} MB")
    heap = page.evaluate("performance.memory.usedJSHeapSize / 1e6")
    say("heap of the page's scripts", f"{heap:.0f} MB")


def say(what: str, value: str) -> None:
    """A figure, at once."""
    print(f"{what:48}{value}", flush=True)


def main() -> None:
    """Measure and print."""
    import intravisto_core as iv

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--app", action="store_true", help="the app alone")
    options = parser.parse_args()
    print(machine())
    engine = iv.open_model(options.model)
    text = cut_text(engine, options.tokens)
    if not options.app:
        compare_with_tiles(engine, text)
    random, card = np.random.default_rng(0), engine.model
    heads = [f"L{random.integers(card.n_layers)}H{random.integers(card.n_heads)}" for _ in range(CHANGES)]
    engine.close()
    with running_app(HF_HUB_OFFLINE="1") as app, chromium() as page:
        in_the_app(page, app.address, options.model, card.n_layers, text, list(dict.fromkeys(heads)))


if __name__ == "__main__":
    main()
