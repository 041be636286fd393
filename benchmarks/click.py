"""The app in Chromium: from a click to the panel of that cell, and from a slider to the picture.

Three pictures: the demo model's own, 34 × 200 cells and 80 × 200 cells of random models with the demo's tokenizer. An
act's time runs from the browser's event; "server" is from the message that leaves to the last one that comes before
all is drawn; "begins" and "painted" are the first and the last change on the page, to the animation frame after it.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from typing import Any

from common import chromium, machine, random_model, running_app, table

POSITIONS, GENERATED, WIDTH = 200, 10, 128
WORDS = ("the", "capital", "of", "Italy", "is", "Rome", "and")
LISTEN = """
window.acts = [];
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) =>
      window.acts.push(["in", performance.now(), data.byteLength ?? data.size ?? data.length]));
  }
  send(data) {
    window.acts.push(["out", performance.now(), data.byteLength ?? data.size ?? data.length]);
    super.send(data);
  }
};
for (const kind of ["click", "keydown"])
  window.addEventListener(kind, () => window.acts.push(["act", performance.now(), 0]), { capture: true });
"""
WATCH = """async (where) => {
  const text = (node) => [...node.childNodes].map((n) =>
    n.nodeType === 3 ? n.data : (n.shadowRoot ? text(n.shadowRoot) : "") + text(n)).join("|");
  const seen = () => text(document.querySelector(where));
  const frame = () => new Promise(requestAnimationFrame);
  const since = (when) => performance.now() - when;
  const told = () => Math.max(changed, ...window.acts.map(([, when]) => when));
  let last = seen(), first = 0, changed = 0;
  window.acts.length = 0;
  window.watching = true;
  let start = null;
  while (start === null) {
    await frame();
    start = window.acts.find(([kind]) => kind === "act")?.[1] ?? null;
  }
  while (since(start) < 600 || since(told()) < 400) {
    await frame();
    const now = seen();
    if (now !== last) {
      changed = performance.now();
      first ||= changed;
      last = now;
    }
  }
  const out = window.acts.find(([kind]) => kind === "out")?.[1] ?? start;
  const came = window.acts.filter(([kind, when]) => kind === "in" && when > out && when <= changed);
  return {
    begins: first - start,
    painted: changed - start,
    server: Math.max(out, ...came.map(([, when]) => when)) - out,
    bytes: window.acts.filter(([kind]) => kind === "in").reduce((sum, [, , n]) => sum + n, 0),
  };
}"""


class App:
    """The running app in a page of Chromium."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        page.set_default_timeout(300_000)
        page.add_init_script(LISTEN)
        page.goto(address)
        self.calm()

    def calm(self) -> None:
        self.page.wait_for_selector(".st-key-picture .iv-cell")
        self.page.wait_for_selector(".status.done")
        self.page.wait_for_selector('[data-test-script-state="notRunning"]')

    def run(self, prompt: str) -> None:
        field = self.page.locator(".st-key-prompt textarea")
        field.fill(prompt)
        field.press("Tab")
        self.page.wait_for_selector(".status.stale")
        self.page.locator(".st-key-run button").click()
        self.page.wait_for_selector(".status.busy, .status.done")
        self.calm()
        self.page.wait_for_timeout(2000)

    def measure(self, where: str, act: Any) -> dict[str, float]:
        """What an act costs until that part of the page stands still."""
        self.page.evaluate(f"window.watching = false; window.measured = ({WATCH})({where!r}); 0")
        self.page.wait_for_function("window.watching")
        act()
        found: dict[str, float] = self.page.evaluate("window.measured")
        return found

    def clicks(self, repetitions: int) -> list[dict[str, float]]:
        """Clicks on cells in sight, each in another column and row."""
        cells = self.page.locator(".st-key-picture .iv-cell")
        count, found = cells.count(), []
        room = self.page.locator(".st-key-picture [role=grid]").bounding_box()
        for number in range(count):
            box = cells.nth((7 + 41 * number) % count).bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            if not (room["x"] + 140 < x < room["x"] + room["width"] - 20 and y < room["y"] + room["height"] - 20):
                continue
            found.append(self.measure(".st-key-detail", lambda x=x, y=y: self.page.mouse.click(x, y)))
            if len(found) > repetitions:
                break
        # the first one comes from the cell that the app selected itself
        return found[1:]

    def slides(self, repetitions: int) -> list[dict[str, float]]:
        """The lower end of the layer slider, one step up or down."""
        thumb = self.page.locator('[class*="st-key-rows_"] input[type=range]').first
        thumb.focus()
        found = []
        for number in range(repetitions + 1):
            key = "ArrowRight" if number % 2 == 0 else "ArrowLeft"
            found.append(self.measure(".st-key-picture", lambda key=key: self.page.keyboard.press(key)))
        return found[1:]


def lines(name: str, found: list[dict[str, float]]) -> list[object]:
    """A line of the table: medians, and the slowest."""
    middle = {k: statistics.median(f[k] for f in found) for k in ("begins", "server", "painted", "bytes")}
    return [
        name,
        len(found),
        *(middle[k] / 1000 for k in ("begins", "server", "painted")),
        max(f["painted"] for f in found) / 1000,
        middle["bytes"] / 1000,
    ]


def measured(layers: int | None, repetitions: int) -> list[list[object]]:
    """Both acts on a model with so many layers; None is the demo model."""
    with ExitStack() as opened:
        environment = {}
        if layers is not None:
            folder = opened.enter_context(random_model("llama", layers, WIDTH))
            environment = {"INTRAVISTO_PUBLIC": "1", "INTRAVISTO_MODELS": str(folder)}
        app = App(opened.enter_context(chromium()), opened.enter_context(running_app(**environment)).address)
        if layers is not None:
            n = POSITIONS - GENERATED - 1
            app.run(" ".join(WORDS[i % len(WORDS)] for i in range(n)))
        told = app.page.locator(".iv-note").inner_text()
        return [
            lines(f"{told}: click → panel", app.clicks(repetitions)),
            lines(f"{told}: slider → picture", app.slides(repetitions)),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=12)
    parser.add_argument("--only", choices=("demo", "34", "80"), help="measure only this picture")
    options = parser.parse_args()
    print(machine())
    rows = []
    for name, layers in (("demo", None), ("34", 32), ("80", 78)):
        if options.only in (None, name):
            rows += measured(layers, options.repetitions)
    table(
        "app, Chromium, medians (goal: a click to its panel in 0.25 s)",
        ["", "n", "begins s", "server s", "painted s", "slowest s", "kB received"],
        rows,
    )


if __name__ == "__main__":
    main()
