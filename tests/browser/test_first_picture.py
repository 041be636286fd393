"""The first picture while PyTorch cannot be loaded yet: it is there, answers clicks, and gives way to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, app_running
from tests.processes import free_port

pytestmark = pytest.mark.browser
# looked at by every Python that starts in this environment: torch can be imported once the file is there
HELD_UP = """
import sys, time
from pathlib import Path

class HeldUp:
    def find_spec(self, name, path=None, target=None):
        while name == "torch" and not Path({gate!r}).exists():
            time.sleep(0.05)

sys.meta_path.insert(0, HeldUp())
"""


def test_the_first_picture_does_not_wait_for_torch(chromium: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "sitecustomize.py").write_text(HELD_UP.format(gate=str(gate)))
    environment = {"PYTHONPATH": str(tmp_path), "INTRAVISTO_HOME": str(tmp_path / "home")}
    with app_running(free_port(), tmp_path / "log.txt", **environment) as address:
        context = chromium.new_context()
        try:
            seen = Visit(context.new_page(), address)
            seen.page.wait_for_selector(".iv-cell")
            waiting = seen.page.get_by_text("Loading the libraries of the model")
            expect(waiting).to_be_visible()
            seen.cell(3, 2).click()
            expect(seen.title()).to_contain_text("layer 2 · position 2")
            assert waiting.is_visible(), "torch was not needed for it"
            gate.touch()
            expect(waiting).to_have_count(0, timeout=120_000)
            seen.ready()
            expect(seen.title()).to_contain_text("layer 2 · position 2")
            assert seen.said == []
        finally:
            gate.touch()
            context.close()
