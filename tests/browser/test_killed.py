"""A server that is killed in the middle of its work: nothing half-written, and the next start works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser import deep
from tests.browser.conftest import ROOT, Visit, start_app
from tests.processes import end_process, free_port

pytestmark = pytest.mark.browser
NEVER_OURS = (".git", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis", ".venv")


class Server:
    """The app on one port, killed and started again; all that it could write into lies in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        for name in ("home", "models", "temporary"):
            (folder / name).mkdir()
        self.environment = {
            "HOME": str(folder / "home"),
            "HF_HOME": str(folder / "models"),
            "TMPDIR": str(folder / "temporary"),
            "INTRAVISTO_PUBLIC": "1",
            "INTRAVISTO_MODELS": str(deep.write(folder / "deep")),
            "INTRAVISTO_NEW_TOKENS": "1000",
        }
        self.process = self._start()

    def _start(self) -> Any:
        return start_app(self.port, self.folder / "log.txt", **self.environment)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def start_again(self) -> None:
        self.process = self._start()

    def written(self) -> set[Path]:
        """Files of the program, and of all folders that it could write into."""
        ours = (file for file in ROOT.rglob("*") if not set(file.relative_to(ROOT).parts) & set(NEVER_OURS))
        folders = (self.folder / name for name in ("home", "models", "temporary"))
        return {file for files in (ours, *(f.rglob("*") for f in folders)) for file in files if file.is_file()}


@pytest.fixture
def server_to_kill(chromium: Any, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    end_process(server.process)


def test_killed_during_a_run_and_during_an_export(server_to_kill: Server, chromium: Any, tmp_path: Path) -> None:
    server, context = server_to_kill, chromium.new_context()
    try:
        seen = Visit(context.new_page(), server.address).ready()
        before = server.written()
        amount = seen.page.locator(".st-key-max_new_tokens input")
        amount.fill("1000")
        amount.press("Enter")
        seen.page.locator(".st-key-run button").click()
        expect(seen.page.locator(".status.busy")).to_contain_text(" of 10")
        server.kill()
        assert server.written() == before

        server.start_again()
        seen.page.goto(seen.page.url)
        seen.ready()
        expect(seen.page.locator(".st-key-notice")).to_contain_text("no longer kept")
        seen.type_prompt("another").run()
        seen.page.get_by_role("button", name="Export", exact=True).click()
        seen.page.locator(".st-key-export_heatmap_json button").first.click(no_wait_after=True)
        server.kill()
        assert server.written() == before

        server.start_again()
        seen = Visit(context.new_page(), server.address).ready()
        seen.page.get_by_role("button", name="Export", exact=True).click()
        with seen.page.expect_download() as waiting:
            seen.page.locator(".st-key-export_heatmap_json button").first.click()
        assert json.loads(Path(waiting.value.path()).read_text("utf-8"))
    finally:
        context.close()
