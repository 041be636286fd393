"""The words of each page for the demo model's first run, against golden files: a changed sentence is seen in review.

`python -m tests.pages.words` writes the files anew.
"""

from __future__ import annotations

import os
import time

import pytest

from intravisto_core.sites import Refinement
from intravisto_ui.parts.flow_start import FlowTab
from tests.pages.conftest import App
from tests.pages.words import GOLDEN, PAGES, RENEW, read_words

LOADING = "This comes in a moment"
MOMENTS = 200


def open_page(app: App, name: str) -> App:
    """A page, when the model has been loaded and all of it is drawn."""
    if name != "heatmap":
        app.tester.switch_page(PAGES[name]).run()
    for _ in range(MOMENTS):
        app.settle()
        if LOADING not in app.html() and app.workspace.engine is not None:
            break
        time.sleep(0.1)
        app.tester.run()
    app.assert_calm()
    return app


def compare(name: str, said: str) -> None:
    file = GOLDEN / f"{name}.txt"
    if os.environ.get(RENEW):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(said, "utf-8")
    assert file.read_text("utf-8").splitlines() == said.splitlines(), (
        f"The words of the page {name} changed. Read them as a stranger; if they are right: python -m tests.pages.words"
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_words_of_a_page(app: App, name: str) -> None:
    compare(name, read_words(open_page(app, name).tester.main))


def test_the_words_of_the_sidebar(app: App) -> None:
    compare("sidebar", read_words(open_page(app, "heatmap").tester.sidebar))


@pytest.mark.parametrize("tab", [tab for tab in FlowTab if tab is not FlowTab.FLOW])
def test_the_words_of_the_flow_pages_other_views(app: App, tab: FlowTab) -> None:
    open_page(app, "flow").set("segmented_control", "flow_tab", tab).assert_calm()
    compare(f"flow_{tab}", read_words(app.tester.main))


def test_the_words_of_a_selected_head(app: App) -> None:
    open_page(app, "flow").set("segmented_control", "flow_tab", FlowTab.ATTRIBUTION)
    here = app.workspace
    at = here.shown.trace.prompt_length - 1
    here.select({"row": 5, "position": at, "part": f"attention.5.{at}", "head": 3, "rev": here.shown.trace.id, "n": 99})
    app.tester.run()
    app.assert_calm()
    compare("flow_attribution_head", read_words(app.tester.main))
    app.set("segmented_control", "flow_cut", Refinement.COMPONENTS).assert_calm()
    compare("flow_attribution_layers", read_words(app.tester.main))


@pytest.mark.parametrize("mode", ["pairs", "circuit"])
def test_the_words_of_the_patching_pages_other_modes(app: App, mode: str) -> None:
    open_page(app, "patching").set("segmented_control", "patch_mode", mode).assert_calm()
    compare(f"patching_{mode}", read_words(app.tester.main))
