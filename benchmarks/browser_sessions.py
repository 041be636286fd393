"""Twenty people at once in Chromium: whether each sees the answers to the own prompt, the worst waits, peak memory.

Every person has a browser profile of their own, opens the app, runs a prompt of their own and clicks on a cell, all at
the same moments. What each one's page shows is held to what the core gives for that prompt, cell by cell.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
from common import machine, running_app, table

COUNTRIES = (
    *("Italy", "France", "Spain", "Germany", "Japan", "Greece", "Egypt", "Poland", "Norway", "Sweden"),
    *("Portugal", "Austria", "Ireland", "Finland", "Denmark", "Russia", "China", "India", "Cuba", "Kenya"),
)
GENERATED = 5
LIMIT_MS = 300_000
ACTS = ("opens the app", "runs a prompt", "clicks on a cell")
CELLS = "(all) => all.map((e) => e.getAttribute('aria-label'))"


class Person:
    """One browser profile with the app in it."""

    def __init__(self, page: Any, address: str, prompt: str, cells: dict[tuple[str, int], str]) -> None:
        self.page, self.address, self.prompt, self.cells = page, address, prompt, cells
        self.wrong: list[str] = []

    async def opens(self) -> None:
        """Until there is a picture."""
        await self.page.goto(self.address)
        await self.page.wait_for_selector(".st-key-picture .iv-cell")

    async def asks(self) -> None:
        """Type the prompt; the page takes it over."""
        field = self.page.locator(".st-key-prompt textarea")
        await field.fill(self.prompt)
        await field.press("Tab")
        await self.page.wait_for_selector(".status.stale, .status.done")
        await self.calm()

    async def runs(self) -> None:
        """From the click on Run until the picture shows a word of the prompt."""
        await self.page.locator(".st-key-run button").click()
        word = self.prompt.split()[6].rstrip("?")
        await self.page.wait_for_selector(f".st-key-picture [role=columnheader]:has-text({word!r})")
        await self.page.wait_for_selector(".status.done")

    async def clicks(self) -> None:
        """Until the panel tells of the cell."""
        await self.cell("layer 3", 5).click()
        await self.page.wait_for_selector(".st-key-detail .title:has-text('layer 3 · position 5')")

    async def calm(self) -> None:
        """Until the script of the page has ended."""
        await self.page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')

    def cell(self, row: str, position: int) -> Any:
        return self.page.locator(f'[role=gridcell][aria-label^="{row}, position {position}:"]')

    async def compare(self) -> int:
        """How many cells of the page were held to the core's; those that differ are kept."""
        labels = await self.page.locator(".st-key-picture [role=gridcell]").evaluate_all(CELLS)
        for label in labels:
            place, _, shown = label.partition(": ")
            row, position = place.split(", position ")
            if not shown.startswith(self.cells[row, int(position)]):
                self.wrong.append(f"{self.prompt}: {label}, and not {self.cells[row, int(position)]}")
        return len(labels)


def expected(prompts: list[str]) -> list[dict[tuple[str, int], str]]:
    """By row and position: what each prompt's cells begin with."""
    import intravisto_core as iv

    engine, found = iv.open_model("demo"), []
    names = ["embeddings", *(f"layer {i}" for i in range(engine.model.n_layers)), "final norm"]
    for prompt in prompts:
        grid = engine.trace(prompt, max_new_tokens=GENERATED).heatmap()
        reader = engine.kept_traces.model.reader
        ids = grid.token_ids[..., 0]
        found.append(
            {(names[r], p): reader.shown(int(ids[r, p])) for r in range(ids.shape[0]) for p in range(ids.shape[1])}
        )
    engine.close()
    return found


async def together(people: list[Person], act: Callable[[Person], Awaitable[None]]) -> list[float]:
    """Seconds that each one waited for the same act, begun by all at once."""

    async def one(person: Person) -> float:
        begun = time.perf_counter()
        await act(person)
        return time.perf_counter() - begun

    return list(await asyncio.gather(*map(one, people)))


async def measured(
    number: int, address: str, server: psutil.Process
) -> tuple[list[list[object]], list[Person], int, int]:
    """Lines of the table, everybody, how many cells were compared, and the server's peak in bytes."""
    from playwright.async_api import async_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise SystemExit("Chromium is not installed: nothing can be measured in a browser")
    prompts = [f"Q: What is the capital of {country}? A:" for country in COUNTRIES[:number]]
    peak = 0

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, server.memory_info().rss)
            await asyncio.sleep(0.1)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        people = []
        for prompt, cells in zip(prompts, expected(prompts), strict=True):
            context = await browser.new_context(viewport={"width": 1440, "height": 900})
            page = await context.new_page()
            page.set_default_timeout(LIMIT_MS)
            people.append(Person(page, address, prompt, cells))
        watching = asyncio.create_task(watch())
        waits = {ACTS[0]: await together(people, Person.opens)}
        amount = [person.page.locator(".st-key-max_new_tokens input") for person in people]
        for person, field in zip(people, amount, strict=True):
            await person.calm()
            await field.fill(str(GENERATED))
            await field.press("Enter")
            await person.calm()
            await person.asks()
        waits[ACTS[1]] = await together(people, Person.runs)
        for person in people:
            await person.calm()
        waits[ACTS[2]] = await together(people, Person.clicks)
        compared = sum([await person.compare() for person in people])
        watching.cancel()
        await browser.close()
    rows = [[act, len(w), statistics.median(w), max(w)] for act, w in waits.items()]
    return rows, people, compared, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=len(COUNTRIES), help=f"at most {len(COUNTRIES)}")
    options = parser.parse_args()
    print(machine())
    with running_app() as app:
        server = psutil.Process(app.pid)
        rows, people, compared, peak = asyncio.run(measured(options.sessions, app.address, server))
    table(
        f"{len(people)} people at once in Chromium, demo model",
        ["everybody", "n", "median wait s", "worst wait s"],
        rows,
    )
    wrong = [line for person in people for line in person.wrong]
    print(f"  {compared} cells compared with the core, {len(wrong)} differ; the server's peak {peak / 1e6:.0f} MB")
    for line in wrong[:5]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
