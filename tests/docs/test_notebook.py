"""Records in a notebook: a real kernel runs the cells, and a browser shows what they gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
CELLS = (
    "import intravisto_core as iv\nengine = iv.open_model('demo')\n"
    "trace = engine.trace('Q: What is the capital of Italy? A:', max_new_tokens=2)\ntrace",
    "trace.heatmap()",
    "trace.flow(position=trace.prompt_length - 1)",
    "trace.explain(tests=False)",
    "trace.attribution(by='heads', position=trace.prompt_length - 1)",
    "trace.shares()",
    "engine.close()",
)
# what a reader must see of each picture, in the frame of its cell
SEEN = {
    1: ".iv-cell",
    2: ".iv-flow svg:visible",
    3: ".iv-explain",
    4: ".iv-heads, .iv-attribution",
    5: ".plot-container",
}


@pytest.fixture(scope="module")
def outputs() -> list[dict[str, Any]]:
    """The data of the last output of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    found = []
    for cell in notebook.cells:
        given = [output.get("data", {}) for output in cell.outputs if output.output_type == "execute_result"]
        found.append(given[-1] if given else {})
    return found


def test_every_record_shows_itself_and_is_text_in_a_terminal(outputs: list[dict[str, Any]]) -> None:
    assert outputs[0]["text/plain"].startswith("Trace(")
    for number in SEEN:
        assert "<iframe" in outputs[number]["text/html"]
        assert "\n" not in outputs[number]["text/plain"]
        assert len(outputs[number]["text/plain"]) < 200


@pytest.mark.browser
def test_a_browser_shows_the_records(outputs: list[dict[str, Any]], chromium: Any, tmp_path: Path) -> None:
    page_file = tmp_path / "notebook.html"
    body = "".join(f'<div id="cell{n}">{outputs[n]["text/html"]}</div>' for n in SEEN)
    page_file.write_text(f"<!doctype html><meta charset=utf-8>{body}", "utf-8")
    context = chromium.new_context()
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    for number, what in SEEN.items():
        page.frame_locator(f"#cell{number} iframe").locator(what).first.wait_for()
    assert said == []
    context.close()
