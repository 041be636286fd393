"""The flow page in Chromium: a click on a node or a link to its panel, a slider to its picture.

Two pictures: the demo model's own, and 200 tokens × 34 rows with top-3 attention from all generated tokens (random
model, demo tokenizer). The columns are those of click.py: "server" is from the message that leaves to the last one that
comes before all is drawn.

Where the time of a click goes (profiles of the script's thread and of the browser, 34 rows): the script takes about
0.06 s, most of it Streamlit's own for some 60 elements; the picture is sent again only when it has changed (it is in
none of the kB received); in the browser Streamlit draws its elements for about 0.1 s, the pictures' own scripts take
0.01 s.
Two things once made it several times as slow: a server whose first page was this one did not put its libraries aside
from the collection of garbage after every rerun (0.3 s each, and while a model was opened every look at its progress
cost as much), and the selection was painted on the layer of the picture.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

from click import GENERATED, POSITIONS, WIDTH, WORDS, App, lines
from common import chromium, machine, random_model, running_app, table

MIDDLE = """(path) => {
  const half = path.getAttribute("fill") === "none" ? 2 : 4; // a ribbon's outline goes down and up again
  const at = path.getPointAtLength(path.getTotalLength() / half);
  const svg = path.ownerSVGElement.getBoundingClientRect();
  return [svg.x + at.x, svg.y + at.y];
}"""
NODES = ".iv-stage rect.iv-node"
LINKS = ".iv-stage path.iv-link"


class FlowApp(App):
    """The app on its flow page."""

    def calm(self) -> None:
        self.page.wait_for_selector(NODES)
        self.page.wait_for_selector(".status.done")
        self.page.wait_for_selector('[data-test-script-state="notRunning"]')

    def picks(self, what: str, repetitions: int) -> list[dict[str, float]]:
        """Clicks on nodes, or on the middle of links, in sight."""
        parts, found = self.page.locator(what), []
        room = self.page.locator(".st-key-picture [role=listbox]").bounding_box()
        for number in range(parts.count()):
            part = parts.nth((5 + 17 * number) % parts.count())
            box = part.bounding_box()
            at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) if what == NODES else part.evaluate(MIDDLE)
            across = room["x"] + 90 < at[0] < room["x"] + room["width"] - 4
            if not (across and room["y"] + 20 < at[1] < room["y"] + room["height"] - 50):
                continue
            took = self.measure(".st-key-detail", lambda at=at: self.page.mouse.click(*at))
            # narrow parts lie over each other: a click may meet the one that is selected, which changes nothing
            if took["begins"] > 0:
                found.append(took)
            if len(found) > repetitions:
                break
        return found[1:]

    def slides(self, repetitions: int) -> list[dict[str, float]]:
        """The lower end of the layer slider, one step up or down."""
        self.page.locator('[class*="st-key-flow_rows_"] input[type=range]').first.focus()
        keys = ["ArrowRight" if number % 2 == 0 else "ArrowLeft" for number in range(repetitions + 1)]
        return [self.measure(".st-key-picture", lambda key=key: self.page.keyboard.press(key)) for key in keys][1:]


def measured(layers: int | None, repetitions: int) -> list[list[object]]:
    """All acts on a model with so many layers; None is the demo model."""
    with ExitStack() as opened:
        environment: dict[str, Any] = {}
        if layers is not None:
            folder = opened.enter_context(random_model("llama", layers, WIDTH))
            environment = {"INTRAVISTO_PUBLIC": "1", "INTRAVISTO_MODELS": str(folder)}
        address = opened.enter_context(running_app(**environment)).address
        app = FlowApp(opened.enter_context(chromium()), f"{address.rstrip('/')}/flow")
        if layers is not None:
            app.run(" ".join(WORDS[i % len(WORDS)] for i in range(POSITIONS - GENERATED - 1)))
            app.page.locator(".st-key-flow_start [role=combobox]").click()
            app.page.get_by_role("option", name="all generated", exact=True).click()
            app.calm()
            down = app.page.locator(".st-key-flow_down input")
            app.page.locator(".st-key-flow_more button").first.click()
            down.fill(str(layers + 1))
            down.press("Tab")
            app.page.keyboard.press("Escape")
            app.page.wait_for_timeout(8000)
            app.calm()
        told = app.page.locator(".iv-note").inner_text()
        return [
            lines(f"{told}: node → panel", app.picks(NODES, repetitions)),
            lines(f"{told}: link → panel", app.picks(LINKS, repetitions)),
            lines(f"{told}: slider → picture", app.slides(repetitions)),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=12)
    parser.add_argument("--only", choices=("demo", "34"), help="measure only this picture")
    options = parser.parse_args()
    print(machine())
    rows = []
    for name, layers in (("demo", None), ("34", 32)):
        if options.only in (None, name):
            rows += measured(layers, options.repetitions)
    table(
        "flow page, Chromium, medians (goal: a click to the record sent in 0.3 s)",
        ["", "n", "begins s", "server s", "painted s", "slowest s", "kB received"],
        rows,
    )


if __name__ == "__main__":
    main()
