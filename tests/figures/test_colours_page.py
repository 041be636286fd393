"""The colours in a browser: the same steps as in Python, text sizes, what the hover says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intravisto_core.figures.measures import measure
from tests.figures.test_measures import full
from tests.figures.test_page import GRID, Opener, cell

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("colour", "options"),
    [
        ("rank", {}),
        ("rank", {"clip": True}),
        ("next", {}),
        ("cosine", {"clip": True}),
        ("p_max", {"log_scale": True}),
        ("correct", {}),
    ],
)
def test_cells_stand_on_the_scale_as_in_python(open_page: Opener, colour: str, options: dict[str, bool]) -> None:
    grid = full()
    page = open_page(grid, colour=colour, **options)
    page.wait_for_selector(".iv-cell")
    cells = grid.p_max.size
    steps = np.array(page.evaluate(f"Array.from({{length: {cells}}}, (_, i) => {GRID}.data.step(i))"))
    fractions = measure(grid, colour, None, "component", **options).fractions()[::-1].ravel()
    expected = np.where(np.isnan(fractions), -1, np.round(255 * np.nan_to_num(fractions)))
    assert np.abs(steps - expected).max() <= 1


def test_the_hover_names_the_number_that_colours(open_page: Opener) -> None:
    grid = full()
    page = open_page(grid, colour="rank")
    page.wait_for_selector(".iv-cell")
    cell(page, 3, 4).hover()
    told = page.locator(".iv-hover").inner_text()
    assert f"rank of ␣Rome: {int(grid.watch[0].rank[3, 4]):,}" in told


def test_larger_text_makes_larger_cells(open_page: Opener) -> None:
    sizes: list[Any] = []
    for text_size in (11.5, 16.0):
        page = open_page(full(), text_size=text_size)
        page.wait_for_selector(".iv-cell")
        sizes.append(page.evaluate(f"[{GRID}.cellWidth, {GRID}.rowHeight]"))
        shown = page.locator(".iv-token").first.evaluate("(e) => getComputedStyle(e).fontSize")
        assert shown == f"{text_size:g}px"
        assert "<svg" in page.evaluate(f"{GRID}.toSvg()")
    assert sizes[0][0] < sizes[1][0]
    assert sizes[0][1] <= sizes[1][1]
